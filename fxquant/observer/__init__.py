"""Observers: see base.py for what they are; the other files for what each learns."""

from fxquant.observer.base import ObserverBase, Partial, UniformQuantizationObserverBase
from fxquant.observer.clipping import PerChannelMSEObserver
from fxquant.observer.defaults import (
    default_affine_fixed_qparams_observer,
    default_debug_observer,
    default_dynamic_quant_observer,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
    default_histogram_observer,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_reuse_input_observer,
    default_symmetric_fixed_qparams_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)
from fxquant.observer.entropy import EntropyObserver
from fxquant.observer.fixed import FixedQParamsObserver
from fxquant.observer.granularity import (
    AffineQuantizedObserverBase,
    Granularity,
    MappingType,
    PerAxis,
    PerBlock,
    PerGroup,
    PerRow,
    PerTensor,
    PerToken,
    TorchAODType,
    ZeroPointDomain,
    get_block_size,
)
from fxquant.observer.group import PerGroupMinMaxObserver
from fxquant.observer.histogram import HistogramObserver
from fxquant.observer.minmax import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)
from fxquant.observer.norm import MSEObserver, PNormObserver
from fxquant.observer.passive import (
    NoopObserver,
    PassiveObserver,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
)
from fxquant.observer.percentile import PercentileObserver
from fxquant.observer.scheme import QScheme
from fxquant.observer.state import get_observer_state_dict, load_observer_state_dict

__all__ = [
    "AffineQuantizedObserverBase",
    "EntropyObserver",
    "FixedQParamsObserver",
    "Granularity",
    "HistogramObserver",
    "MSEObserver",
    "MappingType",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "NoopObserver",
    "ObserverBase",
    "PNormObserver",
    "Partial",
    "PassiveObserver",
    "PerAxis",
    "PerBlock",
    "PerChannelMSEObserver",
    "PerChannelMinMaxObserver",
    "PerGroup",
    "PerGroupMinMaxObserver",
    "PerRow",
    "PerTensor",
    "PerToken",
    "PercentileObserver",
    "PlaceholderObserver",
    "QScheme",
    "RecordingObserver",
    "ReuseInputObserver",
    "TorchAODType",
    "UniformQuantizationObserverBase",
    "ZeroPointDomain",
    "default_affine_fixed_qparams_observer",
    "default_debug_observer",
    "default_dynamic_quant_observer",
    "default_fixed_qparams_range_0to1_observer",
    "default_fixed_qparams_range_neg1to1_observer",
    "default_float_qparams_observer",
    "default_float_qparams_observer_4bit",
    "default_histogram_observer",
    "default_observer",
    "default_per_channel_weight_observer",
    "default_placeholder_observer",
    "default_reuse_input_observer",
    "default_symmetric_fixed_qparams_observer",
    "default_weight_observer",
    "get_block_size",
    "get_observer_state_dict",
    "load_observer_state_dict",
    "per_channel_weight_observer_range_neg_127_to_127",
    "weight_observer_range_neg_127_to_127",
]
