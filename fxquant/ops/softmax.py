"""softmax, log_softmax: of scores, with a mask that is added to them in float and never quantized."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.arguments import axis
from fxquant.ops.op import Output, op, spelling

# 1.0 is one step above 255/256; with this scale each of the 256 codes is a probability.
_PROBABILITY = (1 / 256, 0)


@op(output=Output.FIXED, fixed=_PROBABILITY, kernel=True, at_run_time=("mask",))
def softmax(x: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
    """exp(x + mask) / sum(exp(x + mask)) along `dim`; `mask` is float and broadcasts to the shape of `x`."""
    return torch.softmax(x if mask is None else x + mask, dim)


@op(kernel=True)
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """x - log(sum(exp(x))) along `dim`."""
    return torch.log_softmax(x, dim)


@spelling(F.softmax, torch.softmax, "softmax", torch.special.softmax)
def _softmax(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return softmax(input, _dimension(input, dim, _stacklevel, dtype))


@spelling(F.log_softmax, torch.log_softmax, "log_softmax", torch.special.log_softmax)
def _log_softmax(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return log_softmax(input, _dimension(input, dim, _stacklevel, dtype))


@spelling(nn.Softmax)
def _softmax_module(m: Any, input: Any) -> Any:
    return _softmax(input, m.dim)


@spelling(nn.LogSoftmax)
def _log_softmax_module(m: Any, input: Any) -> Any:
    return _log_softmax(input, m.dim)


def _dimension(x: Any, dim: Any, stacklevel: Any, dtype: Any) -> int:
    """Torch's methods and functions have the dtype as the third argument, F's the one before it."""
    wanted = stacklevel if isinstance(stacklevel, torch.dtype) else dtype
    if wanted not in (None, torch.float32):
        raise TypeError(f"it computes in {wanted}")
    return axis(x, dim)
