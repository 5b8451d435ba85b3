"""matmul of integers, both of them activations:

y = requantize(sum over k of (a - a_zero_point) * (b - b_zero_point) * multiplier)
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import Requantize, requantize


def centered_product(a: Tensor, a_zero_point: int, b: Tensor, b_zero_point: int) -> Tensor:
    """sum over k of (a[..., m, k] - a_zero_point) * (b[..., k, n] - b_zero_point), int32; exact in float64."""
    return torch.matmul(a.double() - a_zero_point, b.double() - b_zero_point).int()


@op(activations=("a", "b"))
def int8_matmul(
    a: Tensor, b: Tensor, multiplier: float, a_zero_point: int, b_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 [..., M, K] and [..., K, N] to uint8 [..., M, N]; multiplier = s_a * s_b * scale / s_y."""
    return requantize(centered_product(a, a_zero_point, b, b_zero_point), multiplier, output)
