"""QConfig: how the activations and the weights of an op are observed; and the ones most people want.

    backend             activations                weights
    x86 fbgemm onednn   histogram, uint8 0..255    int8 -127..127 symmetric, a scale for each output channel
    qnnpack             histogram, uint8 0..255    int8 -127..127 symmetric, one scale

and for training, moving averages in place of histograms, and fake-quantizes for both. A backend is a name for a choice
of numbers: all of them run on the same kernels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from fxquant.errors import ConfigError
from fxquant.fake_quantize import (
    FusedMovingAvgObsFakeQuantize,
    default_dynamic_fake_quant,
    default_embedding_fake_quant,
    default_embedding_fake_quant_4bit,
    default_fake_quant,
    default_fused_act_fake_quant,
    default_fused_per_channel_wt_fake_quant,
    default_fused_wt_fake_quant,
    default_per_channel_weight_fake_quant,
    default_weight_fake_quant,
    fused_per_channel_wt_fake_quant_range_neg_127_to_127,
    fused_wt_fake_quant_range_neg_127_to_127,
)
from fxquant.observer import (
    HistogramObserver,
    MinMaxObserver,
    NoopObserver,
    Partial,
    PerGroupMinMaxObserver,
    PlaceholderObserver,
    default_debug_observer,
    default_dynamic_quant_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
    default_histogram_observer,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_reuse_input_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)

__all__ = [
    "QConfig",
    "QConfigAny",
    "QConfigDynamic",
    "default_activation_only_qconfig",
    "default_debug_qconfig",
    "default_dynamic_qat_qconfig",
    "default_dynamic_qconfig",
    "default_embedding_qat_qconfig",
    "default_embedding_qat_qconfig_4bit",
    "default_per_channel_qconfig",
    "default_per_channel_symmetric_qnnpack_qat_qconfig",
    "default_per_channel_symmetric_qnnpack_qconfig",
    "default_qat_qconfig",
    "default_qat_qconfig_v2",
    "default_qconfig",
    "default_quint8_weight_qconfig",
    "default_reuse_input_qconfig",
    "default_symmetric_qnnpack_qat_qconfig",
    "default_symmetric_qnnpack_qconfig",
    "default_weight_only_qconfig",
    "float16_dynamic_qconfig",
    "float16_static_qconfig",
    "float_qparams_weight_only_qconfig",
    "float_qparams_weight_only_qconfig_4bit",
    "get_default_qat_qconfig",
    "get_default_qconfig",
    "group_weight_only_qconfig",
    "per_channel_dynamic_qconfig",
    "per_channel_dynamic_qconfig_16bit",
    "per_channel_weight_only_qconfig",
    "qconfig_equals",
]


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


class QConfigDynamic(QConfig):
    """A QConfig with float32 for what is not given. Prefer QConfig with observers that have `is_dynamic`."""

    __slots__ = ()

    def __new__(
        cls,
        activation: Callable[..., Any] = PlaceholderObserver,
        weight: Callable[..., Any] | None = PlaceholderObserver,
    ) -> QConfigDynamic:
        warnings.warn(
            "QConfigDynamic is deprecated; use QConfig with observers that have is_dynamic=True",
            FutureWarning,
            stacklevel=2,
        )
        made = super().__new__(cls, activation, weight)
        assert isinstance(made, QConfigDynamic)
        return made


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


# After training.
default_qconfig = QConfig(default_observer, default_weight_observer)
default_per_channel_qconfig = QConfig(default_observer, default_per_channel_weight_observer)
default_debug_qconfig = QConfig(default_debug_observer, default_weight_observer)
default_reuse_input_qconfig = QConfig(default_reuse_input_observer, NoopObserver)
default_quint8_weight_qconfig = QConfig(default_histogram_observer, MinMaxObserver)
float16_static_qconfig = QConfig(
    PlaceholderObserver.with_args(dtype=torch.float16), PlaceholderObserver.with_args(dtype=torch.float16)
)

_symmetric_activation = HistogramObserver.with_args(dtype=torch.int8, eps=2**-12)
default_symmetric_qnnpack_qconfig = QConfig(_symmetric_activation, weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    _symmetric_activation, per_channel_weight_observer_range_neg_127_to_127
)

# Activations at run time, or not at all.
default_dynamic_qconfig = QConfig(default_dynamic_quant_observer, default_weight_observer)
per_channel_dynamic_qconfig = QConfig(default_dynamic_quant_observer, default_per_channel_weight_observer)
per_channel_dynamic_qconfig_16bit = QConfig(  # of recurrent layers; the bounds are those of two int8 products
    default_dynamic_quant_observer,
    default_per_channel_weight_observer.with_args(dtype=torch.int16, quant_min=-32512, quant_max=32512),
)
float16_dynamic_qconfig = QConfig(
    PlaceholderObserver.with_args(dtype=torch.float16, is_dynamic=True),
    PlaceholderObserver.with_args(dtype=torch.float16),
)
float_qparams_weight_only_qconfig = QConfig(default_placeholder_observer, default_float_qparams_observer)
float_qparams_weight_only_qconfig_4bit = QConfig(default_placeholder_observer, default_float_qparams_observer_4bit)
per_channel_weight_only_qconfig = QConfig(default_placeholder_observer, default_per_channel_weight_observer)
group_weight_only_qconfig = QConfig(default_placeholder_observer, PerGroupMinMaxObserver.with_args(group_size=32))

# In training.
default_qat_qconfig = QConfig(default_fake_quant, default_weight_fake_quant)
default_qat_qconfig_v2 = QConfig(default_fused_act_fake_quant, default_fused_wt_fake_quant)
default_dynamic_qat_qconfig = QConfig(default_dynamic_fake_quant, default_weight_fake_quant)
default_embedding_qat_qconfig = QConfig(default_placeholder_observer, default_embedding_fake_quant)
default_embedding_qat_qconfig_4bit = QConfig(default_placeholder_observer, default_embedding_fake_quant_4bit)
default_weight_only_qconfig = QConfig(default_placeholder_observer, default_weight_fake_quant)
default_activation_only_qconfig = QConfig(default_fake_quant, default_placeholder_observer)

_symmetric_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    dtype=torch.int8, quant_min=-128, quant_max=127, eps=2**-12
)
default_symmetric_qnnpack_qat_qconfig = QConfig(_symmetric_fake_quant, fused_wt_fake_quant_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    _symmetric_fake_quant, fused_per_channel_wt_fake_quant_range_neg_127_to_127
)

_PER_CHANNEL_BACKENDS = ("x86", "fbgemm", "onednn")
_PER_TENSOR_BACKENDS = ("qnnpack",)


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The QConfig for post-training quantization; see the table above. ConfigError if `backend` is not in it."""
    _check_version(version, known=(0,))
    weight = _of_backend(backend, default_per_channel_weight_observer, default_weight_observer)
    return QConfig(default_histogram_observer, weight)


def get_default_qat_qconfig(backend: str = "x86", version: int | None = 1) -> QConfig:
    """The QConfig for training; see the table above. `version` 0 names FakeQuantize, 1 (or None) its fused twin."""
    _check_version(version, known=(None, 0, 1))
    if version == 0:
        weight = _of_backend(backend, default_per_channel_weight_fake_quant, default_weight_fake_quant)
        return QConfig(default_fake_quant, weight)
    weight = _of_backend(backend, default_fused_per_channel_wt_fake_quant, default_fused_wt_fake_quant)
    return QConfig(default_fused_act_fake_quant, weight)


def _of_backend(backend: str, per_channel: Partial, per_tensor: Partial) -> Partial:
    if backend not in (*_PER_CHANNEL_BACKENDS, *_PER_TENSOR_BACKENDS):
        known = ", ".join((*_PER_CHANNEL_BACKENDS, *_PER_TENSOR_BACKENDS))
        raise ConfigError(f"unknown backend {backend!r}; known: {known}")
    return per_channel if backend in _PER_CHANNEL_BACKENDS else per_tensor


def _check_version(version: int | None, known: tuple[int | None, ...]) -> None:
    if version not in known:
        raise ConfigError(f"unknown version {version!r} of the default qconfig; known: {', '.join(map(str, known))}")
