"""conv2d of integers:

acc[o] = bias[o] + sum over taps and channels of (x - x_zero_point) * weight[o]        (padding reads x_zero_point)
y      = table[requantize(acc * multiplier[o] + residual_term)]
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.integer.lookup import lookup
from fxquant.ops.op import op
from fxquant.qparams import Requantize, Residual, requantize, residual_term

Pair = tuple[int, int]


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize,
    stride: Pair,
    padding: tuple[int, int, int, int],
    dilation: Pair,
    groups: int,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [N, I, H, W], weight int8 [O, I/groups, KH, KW], bias int32 [O], multiplier float32 [O] -> uint8.

    `padding`: top, left, bottom, right. `residual`: uint8, of the output's shape. `table`: uint8 [256].
    """
    top, left, bottom, right = padding
    # float64 holds every int32 sum exactly.
    centered = F.pad(x.double() - x_zero_point, (left, right, top, bottom))
    acc = F.conv2d(centered, weight.double(), bias.double(), stride, 0, dilation, groups).int()
    term = None if residual is None or residual_params is None else residual_term(residual, residual_params)
    y = requantize(acc, multiplier[:, None, None], output, term)
    return y if table is None else lookup(y, table)
