"""Observers: see base.py for what they are, and minmax.py, histogram.py and fixed.py for what each learns."""

from fxquant.observer.base import ObserverBase, Partial, UniformQuantizationObserverBase
from fxquant.observer.defaults import (
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_histogram_observer,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)
from fxquant.observer.entropy import EntropyObserver
from fxquant.observer.fixed import FixedQParamsObserver, PlaceholderObserver
from fxquant.observer.histogram import HistogramObserver
from fxquant.observer.minmax import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)
from fxquant.observer.norm import MSEObserver, PNormObserver
from fxquant.observer.percentile import PercentileObserver
from fxquant.observer.scheme import QScheme

__all__ = [
    "EntropyObserver",
    "FixedQParamsObserver",
    "HistogramObserver",
    "MSEObserver",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "ObserverBase",
    "PNormObserver",
    "Partial",
    "PerChannelMinMaxObserver",
    "PercentileObserver",
    "PlaceholderObserver",
    "QScheme",
    "UniformQuantizationObserverBase",
    "default_fixed_qparams_range_0to1_observer",
    "default_fixed_qparams_range_neg1to1_observer",
    "default_histogram_observer",
    "default_observer",
    "default_per_channel_weight_observer",
    "default_placeholder_observer",
    "default_weight_observer",
    "per_channel_weight_observer_range_neg_127_to_127",
    "weight_observer_range_neg_127_to_127",
]
