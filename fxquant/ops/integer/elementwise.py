"""Arithmetic of two uint8 tensors with qparams of their own.

add       y = requantize((a - z_a) * (s_a / s_y) + (b - z_b) * (s_b / s_y))      sub: with -s_b / s_y
maximum   y = requantize(max((a - z_a) * (s_a / s_y), (b - z_b) * (s_b / s_y)))    minimum likewise
mul       y = requantize((a - z_a) * (b - z_b) * (s_a * s_b / s_y))
div       y = requantize((a - z_a) / (b - z_b) * (s_a / (s_b * s_y)))            by 0 it saturates; 0 / 0 is quant_min
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import Requantize, Residual, requantize, residual_term, round_and_saturate


@op(activations=("a", "b"))
def int8_add(
    a: Tensor,
    b: Tensor,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    output: Requantize,
) -> Tensor:
    """uint8 tensors that broadcast, to uint8; a_multiplier = s_a / s_y, b_multiplier = s_b / s_y."""
    return requantize(
        a.int() - a_zero_point, a_multiplier, output, residual_term(b, Residual(b_zero_point, b_multiplier))
    )


@op(activations=("a", "b"))
def int8_mul(
    a: Tensor, b: Tensor, multiplier: float, a_zero_point: int, b_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 tensors that broadcast, to uint8; multiplier = s_a * s_b / s_y."""
    return requantize((a.int() - a_zero_point) * (b.int() - b_zero_point), multiplier, output)


@op(activations=("a", "b"))
def int8_maximum(
    a: Tensor,
    b: Tensor,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    output: Requantize,
) -> Tensor:
    """Arguments as of `int8_add`."""
    sides = (a, Residual(a_zero_point, a_multiplier)), (b, Residual(b_zero_point, b_multiplier))
    return _extreme(torch.maximum, sides, output)


@op(activations=("a", "b"))
def int8_minimum(
    a: Tensor,
    b: Tensor,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    output: Requantize,
) -> Tensor:
    """Arguments as of `int8_add`."""
    sides = (a, Residual(a_zero_point, a_multiplier)), (b, Residual(b_zero_point, b_multiplier))
    return _extreme(torch.minimum, sides, output)


def _extreme(
    choose: Callable[[Tensor, Tensor], Tensor], sides: tuple[tuple[Tensor, Residual], ...], output: Requantize
) -> Tensor:
    """What `choose` takes of two tensors on the result's scale, rounded."""
    return round_and_saturate(choose(*(residual_term(*side) for side in sides)), *output).to(torch.uint8)


@op(activations=("a", "b"))
def int8_div(
    a: Tensor, b: Tensor, multiplier: float, a_zero_point: int, b_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 tensors that broadcast, to uint8; multiplier = s_a / (s_b * s_y)."""
    quotient = (a.int() - a_zero_point).float() / (b.int() - b_zero_point).float()
    return round_and_saturate(quotient * multiplier, *output).to(torch.uint8)
