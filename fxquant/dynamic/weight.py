"""Weights as integers: how a QConfig makes them, and how a user looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fxquant import qparams
from fxquant.errors import ConfigError
from fxquant.graph.limits import made_by
from fxquant.passes.annotate_dynamic import (  # type: ignore[import-untyped]
    dynamic_limit,
    dynamic_of,
    recurrent_limit,
    wants_two_bytes,
)
from fxquant.passes.annotate_weight_only import wants_float16_weights  # type: ignore[import-untyped]
from fxquant.passes.observe_weights import rounded  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import Dynamic, QParams


class IntegerWeight(NamedTuple):
    """Integers and what they stand for, with the methods that torch's quantized tensors have for it."""

    codes: Tensor
    qparams: QParams

    def int_repr(self) -> Tensor:
        """The integers."""
        return self.codes

    def dequantize(self) -> Tensor:
        """What they stand for, float32."""
        return qparams.dequantize(self.codes, self.qparams)

    def q_scale(self) -> float:
        """The scale. Raises ConfigError if there are several."""
        if isinstance(self.qparams.scale, Tensor):
            raise ConfigError("this weight has a scale for each output; see q_per_channel_scales()")
        return self.qparams.scale

    def q_zero_point(self) -> int:
        """The zero point, of all scales."""
        assert not isinstance(self.qparams.zero_point, Tensor)
        return self.qparams.zero_point

    def q_per_channel_scales(self) -> Tensor:
        """The scale of each output."""
        return torch.as_tensor(self.qparams.scale).expand(self.codes.shape[self.qparams.axis or 0])

    def q_per_channel_zero_points(self) -> Tensor:
        """The zero point of each output."""
        return torch.zeros(self.codes.shape[self.qparams.axis or 0], dtype=torch.int64)


def refusal(qconfig: QConfig, groups: bool = False) -> str | None:
    """Why no module computes under `qconfig` with integers that are made at run time, or None.

    `groups`: its weights may have a scale for each group of inputs.
    """
    reason: str | None = _static_limit(qconfig) or dynamic_limit(Match(qconfig, "quantize_dynamic"), groups=groups)
    return reason


def _static_limit(qconfig: QConfig) -> str | None:
    if made_by(qconfig.activation, "quantize_dynamic").is_dynamic:
        return None
    return "its qconfig is not dynamic; take default_dynamic_qconfig or per_channel_dynamic_qconfig"


def is_16bit(qconfig: QConfig) -> bool:
    """Whether weights become int16."""
    wide: bool = wants_two_bytes(Match(qconfig, "quantize_dynamic"))
    return wide


def is_float16(qconfig: QConfig) -> bool:
    """Whether weights become float16, and nothing else is rounded."""
    wide: bool = wants_float16_weights(Match(qconfig, "quantize_dynamic"))
    return wide


def recurrent_refusal(qconfig: QConfig) -> str | None:
    """`refusal` of recurrent layers, whose weights may also be int16 or float16."""
    if is_float16(qconfig):
        return None
    reason: str | None = _static_limit(qconfig) or recurrent_limit(Match(qconfig, "quantize_dynamic"))
    return reason


def checked_qconfig(module: nn.Module, default: QConfig, refusal: Callable[[QConfig], str | None] = refusal) -> QConfig:
    """The module's own `qconfig`, or `default`. Raises ConfigError if no kernel computes under it."""
    qconfig: Any = getattr(module, "qconfig", None) or default
    reason = refusal(qconfig)
    if reason is not None:
        raise ConfigError(f"a {type(module).__name__} cannot be dynamic: {reason}")
    return qconfig  # type: ignore[no-any-return]


def levels_of(qconfig: QConfig) -> Dynamic:
    """How `qconfig` wants activations to be quantized."""
    levels: Dynamic = dynamic_of(made_by(qconfig.activation, "quantize_dynamic"))
    return levels


def integers_of(weight: Tensor, qconfig: QConfig, axis: int = 0) -> IntegerWeight:
    """`weight` in int8 or int16, with one scale or one for each index of `axis`, as `qconfig` has it."""
    return IntegerWeight(*rounded(qconfig.weight, weight, axis))


def given_integers(weight: Any) -> IntegerWeight:
    """What a user gives as a weight in integers: one of ours, or an int8 tensor of torch's quantized ones."""
    if isinstance(weight, IntegerWeight):
        return weight
    if not hasattr(weight, "int_repr") or not getattr(weight, "is_quantized", False):
        raise ConfigError(
            f"a weight in integers is what weight() gives, or a quantized tensor; not a {type(weight).__name__}"
        )
    by_channel = "per_channel" in str(weight.qscheme())
    zero_points = weight.q_per_channel_zero_points() if by_channel else torch.tensor(weight.q_zero_point())
    if weight.int_repr().dtype is not torch.int8 or zero_points.any() or (by_channel and weight.q_per_channel_axis()):
        raise ConfigError("weights are int8 with zero points of 0, and one scale or one for each output (axis 0)")
    scale: Any = weight.q_per_channel_scales().float() if by_channel else weight.q_scale()
    return IntegerWeight(weight.int_repr(), QParams(scale, 0, -128, 127, torch.int8, 0 if by_channel else None))


def scales_of(weight: IntegerWeight) -> Tensor:
    """float32, one for each output."""
    return weight.q_per_channel_scales().float().contiguous()
