"""Activations: each output element depends on one input element (and, for prelu, on its channel).

relu6, hardtanh, clamp_min and clamp_max are `clamp`; clamp(x, 0, None) is `relu`. In-place forms have been made
out-of-place before, so `inplace` means nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.op import Output, op, spelling

# sigmoid and hardsigmoid reach 1.0, which is one step above 255/256; tanh reaches 1.0 and -1.0 is exactly code 0.
_ZERO_TO_ONE = (1 / 256, 0)
_MINUS_ONE_TO_ONE = (2 / 256, 128)


@op(pointwise=True)
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@op(pointwise=True)
def clamp(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """min(max(x, min), max); as in torch, `max` wins where the bounds cross."""
    return torch.clamp(x, min, max)


@op(pointwise=True, output=Output.FIXED, fixed=_ZERO_TO_ONE)
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@op(pointwise=True, output=Output.FIXED, fixed=_ZERO_TO_ONE)
def hardsigmoid(x: Tensor) -> Tensor:
    """clamp(x + 3, 0, 6) / 6."""
    return F.hardsigmoid(x)


@op(pointwise=True, output=Output.FIXED, fixed=_MINUS_ONE_TO_ONE)
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@op(pointwise=True)
def hardswish(x: Tensor) -> Tensor:
    """x * hardsigmoid(x)."""
    return F.hardswish(x)


@op(pointwise=True)
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return F.silu(x)


@op(pointwise=True)
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x); `approximate="tanh"` is torch's tanh formula."""
    return F.gelu(x, approximate=approximate)


@op(pointwise=True)
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x for x > 0, else alpha * (exp(x) - 1)."""
    return F.elu(x, alpha)


@op(pointwise=True)
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x for x >= 0, else negative_slope * x."""
    return F.leaky_relu(x, negative_slope)


@op(pointwise=True)
def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x))."""
    return F.mish(x)


@op(pointwise=True)
def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above `threshold`."""
    return F.softplus(x, beta, threshold)


@op(pointwise=True)
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x for x >= 0, else weight[c] * x; one weight, or one a channel along dimension 1 (a table a channel)."""
    return F.prelu(x, weight)


def _spell(
    activation: Callable[..., Any], module: type[nn.Module], *spellings: Any, fields: tuple[str, ...] = ()
) -> None:
    """The activation's module, whose attributes `fields` are its parameters, and its functions and methods."""

    @spelling(*spellings)
    def call(input: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
        return activation(input, *args, **kwargs)

    @spelling(module)
    def call_module(m: Any, input: Any) -> Any:
        return activation(input, *(getattr(m, field) for field in fields))


_spell(relu, nn.ReLU, F.relu, torch.relu, "relu")
_spell(sigmoid, nn.Sigmoid, F.sigmoid, torch.sigmoid, torch.special.expit, "sigmoid")
_spell(hardsigmoid, nn.Hardsigmoid, F.hardsigmoid)
_spell(tanh, nn.Tanh, F.tanh, torch.tanh, "tanh")
_spell(hardswish, nn.Hardswish, F.hardswish)
_spell(silu, nn.SiLU, F.silu)
_spell(gelu, nn.GELU, F.gelu, fields=("approximate",))
_spell(elu, nn.ELU, F.elu, fields=("alpha",))
_spell(leaky_relu, nn.LeakyReLU, F.leaky_relu, fields=("negative_slope",))
_spell(mish, nn.Mish, F.mish)
_spell(softplus, nn.Softplus, F.softplus, fields=("beta", "threshold"))
_spell(prelu, nn.PReLU, F.prelu, "prelu", fields=("weight",))


@spelling(torch.clamp, torch.clip, "clamp", "clip")
def _clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    dtype = input.node.meta.get("dtype")
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"its input is {dtype}, which bounds in float would change")
    low, high = _bound(min), _bound(max)
    return relu(input) if (low, high) == (0.0, None) else clamp(input, low, high)


def _bound(value: Any) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise TypeError("its bounds are tensors or computed values")
    return None if value is None else float(value)


@spelling(torch.clamp_min, "clamp_min")
def _clamp_min(input: Any, min: Any) -> Any:
    return _clamp(input, min)


@spelling(torch.clamp_max, "clamp_max")
def _clamp_max(input: Any, max: Any) -> Any:
    return _clamp(input, None, max)


@spelling(F.relu6)
def _relu6(input: Any, inplace: bool = False) -> Any:
    return _clamp(input, 0, 6)


@spelling(nn.ReLU6, nn.Hardtanh)
def _hardtanh_module(m: Any, input: Any) -> Any:
    return _clamp(input, m.min_val, m.max_val)


@spelling(F.hardtanh)
def _hardtanh(input: Any, min_val: Any = -1.0, max_val: Any = 1.0, inplace: bool = False) -> Any:
    return _clamp(input, min_val, max_val)
