"""matmul of integers, both of them activations:

y = requantize(sum over k of (a - a_zero_point) * (b - b_zero_point) * multiplier)

and, of float32 that is quantized at run time, rows of a as the inputs of a dynamic linear layer and columns of b as its
weights are,

s_b[n]  = max(max over k of |b[k, n]| / 127, 2^-126),  w[k, n] = clamp(rne(b[k, n] * (1 / s_b[n])), -127, 127)
y[m, n] = float(sum over k of (a[m, k] - zero_point[m]) * w[k, n]) * s_a[m] * (s_b[n] * scale)
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import Dynamic, Requantize, dynamic_quantize, requantize, symmetric_codes


def centered_product(a: Tensor, a_zero_point: int | Tensor, b: Tensor, b_zero_point: int) -> Tensor:
    """sum over k of (a[..., m, k] - a_zero_point) * (b[..., k, n] - b_zero_point), int32; exact in float64."""
    return torch.matmul(a.double() - a_zero_point, b.double() - b_zero_point).int()


@op(activations=("a", "b"))
def int8_matmul(
    a: Tensor, b: Tensor, multiplier: float, a_zero_point: int, b_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 [..., M, K] and [..., K, N] to uint8 [..., M, N]; multiplier = s_a * s_b * scale / s_y."""
    return requantize(centered_product(a, a_zero_point, b, b_zero_point), multiplier, output)


@op(activations=("a", "b"))
def dynamic_matmul(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """float32 [..., M, K] and [..., K, N] to float32 [..., M, N].

    A NaN or an infinity makes the row of its result NaN, or the column.
    """
    x, x_scale, zero_point = dynamic_quantize(a, Dynamic())
    w, w_scale = symmetric_codes(b, (-2,))
    return centered_product(x, zero_point, w, 128).float() * x_scale * (w_scale * scale)
