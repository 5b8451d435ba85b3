"""add and mul of two uint8 tensors with qparams of their own.

add   y = requantize((a - z_a) * (s_a / s_y) + (b - z_b) * (s_b / s_y))
mul   y = requantize((a - z_a) * (b - z_b) * (s_a * s_b / s_y))
"""

from __future__ import annotations

from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import Requantize, Residual, requantize, residual_term


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
