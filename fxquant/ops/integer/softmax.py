"""softmax and log_softmax of integers, after a mask was added in float.

    t = (x - x_zero_point) * x_scale + mask;  d = t - max(t)              in float32
    e = rne(2^(d * log2(e)) * 2^23), total = sum of e                     exact integers, in any order
    softmax       y = requantize(e * (multiplier / total))                multiplier = 1 / s_y
    log_softmax   y = requantize((d - log(total / 2^23)) * multiplier)

The power of 2 is that of exponential.py; with its error of 1.1e-4, results are within a step of exact ones. Quotient
and logarithm are rounded to float32 once, from float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.integer.exponential import EXPONENTIAL, LOG2_E, power_of_2
from fxquant.ops.op import op
from fxquant.qparams import Requantize, round_and_saturate

ONE = 1 << 23


def _distances(x: Tensor, dim: int, x_scale: float, x_zero_point: int, mask: Tensor | None) -> Tensor:
    t = (x.int() - x_zero_point).float() * x_scale
    if mask is not None:
        t = t + added(mask)
    return t - t.amax(dim, keepdim=True) if t.numel() else t


def added(mask: Tensor) -> Tensor:
    """The summand that a mask stands for: of a bool, 0 where it is True, else -inf."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)


def _integers(d: Tensor) -> Tensor:
    return torch.round(power_of_2(d * LOG2_E, EXPONENTIAL) * ONE).long()


@op(activations=("x",), at_run_time=("mask",))
def int8_softmax(
    x: Tensor,
    dim: int,
    x_scale: float,
    x_zero_point: int,
    multiplier: float,
    output: Requantize,
    mask: Tensor | None = None,
) -> Tensor:
    """uint8 of any shape to uint8; `mask`: float32 or bool, broadcasts to the shape of `x`."""
    e = _integers(_distances(x, dim, x_scale, x_zero_point, mask))
    factor = (torch.tensor(multiplier).double() / e.sum(dim, keepdim=True).double()).float()
    value = e.float() * factor
    return round_and_saturate(value, output.zero_point, output.quant_min, output.quant_max).to(torch.uint8)


@op()
def int8_log_softmax(
    x: Tensor, dim: int, x_scale: float, x_zero_point: int, multiplier: float, output: Requantize
) -> Tensor:
    """uint8 of any shape to uint8."""
    d = _distances(x, dim, x_scale, x_zero_point, None)
    logarithm = (_integers(d).sum(dim, keepdim=True).double() / ONE).log().float()
    value = (d - logarithm) * multiplier
    return round_and_saturate(value, output.zero_point, output.quant_min, output.quant_max).to(torch.uint8)
