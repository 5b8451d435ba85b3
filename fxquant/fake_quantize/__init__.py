"""Observers that train: they hand on what int8 would make of a value.

    forward     y = dequantize(quantize(x, q), q)            q from the observer within
    backward    dx = dy where quantize(x, q) did not saturate, else 0

so the rounding counts as the identity: the straight-through estimator (Bengio et al. 2013; Jacob et al. 2017, section
3). A learnable fake-quantize also has gradients for its scale and its zero point (Esser et al. 2020, "Learned Step Size
Quantization"; Bhalgat et al. 2020, "LSQ+").
"""

from __future__ import annotations

import torch

from fxquant.fake_quantize.fake_quantize import (
    FakeQuantize,
    FakeQuantizeBase,
    FixedQParamsFakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    disable_fake_quant,
    disable_observer,
    enable_fake_quant,
    enable_observer,
)
from fxquant.fake_quantize.learnable import _LearnableFakeQuantize as _LearnableFakeQuantize
from fxquant.observer import (
    HistogramObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    QScheme,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
)

__all__ = [
    "FakeQuantize",
    "FakeQuantizeBase",
    "FixedQParamsFakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "default_affine_fixed_qparams_fake_quant",
    "default_dynamic_fake_quant",
    "default_embedding_fake_quant",
    "default_embedding_fake_quant_4bit",
    "default_fake_quant",
    "default_fixed_qparams_range_0to1_fake_quant",
    "default_fixed_qparams_range_neg1to1_fake_quant",
    "default_fused_act_fake_quant",
    "default_fused_per_channel_wt_fake_quant",
    "default_fused_wt_fake_quant",
    "default_histogram_fake_quant",
    "default_per_channel_weight_fake_quant",
    "default_symmetric_fixed_qparams_fake_quant",
    "default_weight_fake_quant",
    "disable_fake_quant",
    "disable_observer",
    "enable_fake_quant",
    "enable_observer",
    "fused_per_channel_wt_fake_quant_range_neg_127_to_127",
    "fused_wt_fake_quant_range_neg_127_to_127",
]

_ACTIVATION = {"dtype": torch.uint8, "quant_min": 0, "quant_max": 255}
_WEIGHT = {"dtype": torch.int8, "quant_min": -127, "quant_max": 127}
_PER_TENSOR = {"observer": MovingAverageMinMaxObserver, "qscheme": QScheme.PER_TENSOR_SYMMETRIC, **_WEIGHT}
_PER_CHANNEL = {"observer": MovingAveragePerChannelMinMaxObserver, "qscheme": QScheme.PER_CHANNEL_SYMMETRIC, **_WEIGHT}

default_fake_quant = FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, **_ACTIVATION)
default_dynamic_fake_quant = default_fake_quant.with_args(averaging_constant=1, is_dynamic=True)
default_histogram_fake_quant = FakeQuantize.with_args(observer=HistogramObserver, **_ACTIVATION)
default_weight_fake_quant = FakeQuantize.with_args(**_PER_TENSOR)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(**_PER_CHANNEL)
default_embedding_fake_quant = FakeQuantize.with_args(observer=default_float_qparams_observer)
default_embedding_fake_quant_4bit = FakeQuantize.with_args(observer=default_float_qparams_observer_4bit)

default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_0to1_observer
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)
default_affine_fixed_qparams_fake_quant = default_fixed_qparams_range_0to1_fake_quant
default_symmetric_fixed_qparams_fake_quant = default_fixed_qparams_range_neg1to1_fake_quant

default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_ACTIVATION)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_PER_TENSOR)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_PER_CHANNEL)
fused_wt_fake_quant_range_neg_127_to_127 = default_fused_wt_fake_quant.with_args(eps=2**-12)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = default_fused_per_channel_wt_fake_quant.with_args(eps=2**-12)
