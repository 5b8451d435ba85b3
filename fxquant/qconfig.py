"""QConfig: how the activations and the weights of an op are observed; and the ones most people want.

    backend             activations                weights
    x86 fbgemm onednn   histogram, uint8 0..255    int8 -127..127 symmetric, a scale for each output channel
    qnnpack             histogram, uint8 0..255    int8 -127..127 symmetric, one scale

A backend is a name for a choice of numbers: all of them run on the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from fxquant.errors import ConfigError
from fxquant.observer import (
    HistogramObserver,
    default_histogram_observer,
    default_observer,
    default_per_channel_weight_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)


class _Fields(NamedTuple):
    activation: Callable[..., Any]
    weight: Callable[..., Any] | None


class QConfig(_Fields):
    """Factories of observers: classes, or what their `with_args` returns, not instances.

        QConfig(activation=MinMaxObserver, weight=PerChannelMinMaxObserver.with_args(dtype=torch.int8, ...))

    `weight` may be None for ops without weights. Raises ConfigError for instances and what cannot be called.
    """

    __slots__ = ()

    def __new__(cls, activation: Callable[..., Any], weight: Callable[..., Any] | None) -> QConfig:
        _check_factory("activation", activation)
        if weight is not None:
            _check_factory("weight", weight)
        return super().__new__(cls, activation, weight)


QConfigAny = QConfig | None


def _check_factory(role: str, factory: Any) -> None:
    if isinstance(factory, nn.Module):
        name = type(factory).__name__
        raise ConfigError(
            f"the {role} of a QConfig is a {name} instance, which all ops would share; "
            f"pass the class {name}, or {name}.with_args(...)"
        )
    if not callable(factory):
        raise ConfigError(f"the {role} of a QConfig must be an observer class or its with_args(...); got {factory!r}")


def qconfig_equals(q1: QConfigAny, q2: QConfigAny) -> bool:
    """Whether both make the same observers with the same arguments."""
    return q1 == q2


default_qconfig = QConfig(default_observer, default_weight_observer)
default_per_channel_qconfig = QConfig(default_observer, default_per_channel_weight_observer)

_symmetric_activation = HistogramObserver.with_args(dtype=torch.int8, eps=2**-12)
default_symmetric_qnnpack_qconfig = QConfig(_symmetric_activation, weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    _symmetric_activation, per_channel_weight_observer_range_neg_127_to_127
)

_per_channel = QConfig(default_histogram_observer, default_per_channel_weight_observer)
_BACKENDS = {
    "x86": _per_channel,
    "fbgemm": _per_channel,
    "onednn": _per_channel,
    "qnnpack": QConfig(default_histogram_observer, default_weight_observer),
}


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The QConfig for post-training quantization; see the table above. ConfigError if `backend` is not in it."""
    if backend not in _BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; known: {', '.join(_BACKENDS)}")
    if version != 0:
        raise ConfigError(f"unknown version {version!r} of the default qconfig; known: 0")
    return _BACKENDS[backend]
