"""The factories of observers that QConfigs are usually made of.

Activations use all of 0..255, as no kernel here saturates in between. Symmetric weights use -127..127: were -128 used
too, the scale would be max|w| / 127.5, and the largest positive weight would lie half a step beyond the last integer.
"""

from __future__ import annotations

import torch

from fxquant.observer.fixed import FixedQParamsObserver
from fxquant.observer.histogram import HistogramObserver
from fxquant.observer.minmax import MinMaxObserver, PerChannelMinMaxObserver
from fxquant.observer.passive import PlaceholderObserver, RecordingObserver, ReuseInputObserver
from fxquant.observer.scheme import QScheme

# Below this a scale is no smaller: far under any real one, far over what would make a quotient of scales overflow.
SMALLEST_SCALE = 2**-60

default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=255, eps=SMALLEST_SCALE)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=255, eps=SMALLEST_SCALE)
default_placeholder_observer = PlaceholderObserver
default_debug_observer = RecordingObserver
default_reuse_input_observer = ReuseInputObserver
default_dynamic_quant_observer = PlaceholderObserver.with_args(
    dtype=torch.uint8, quant_min=0, quant_max=255, is_dynamic=True
)

default_weight_observer = MinMaxObserver.with_args(
    dtype=torch.int8, qscheme=QScheme.PER_TENSOR_SYMMETRIC, quant_min=-127, quant_max=127, eps=SMALLEST_SCALE
)
weight_observer_range_neg_127_to_127 = default_weight_observer.with_args(eps=2**-12)

default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(
    dtype=torch.int8, qscheme=QScheme.PER_CHANNEL_SYMMETRIC, quant_min=-127, quant_max=127, eps=SMALLEST_SCALE
)
per_channel_weight_observer_range_neg_127_to_127 = default_per_channel_weight_observer.with_args(eps=2**-12)

default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(scale=1 / 256, zero_point=0)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(scale=2 / 256, zero_point=128)
default_affine_fixed_qparams_observer = default_fixed_qparams_range_0to1_observer
default_symmetric_fixed_qparams_observer = default_fixed_qparams_range_neg1to1_observer

# Rows of an embedding: a scale and a float zero point each.
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=torch.uint8, qscheme=QScheme.PER_CHANNEL_AFFINE_FLOAT_QPARAMS, quant_min=0, quant_max=255, ch_axis=0
)
default_float_qparams_observer_4bit = default_float_qparams_observer.with_args(quant_max=15)
