"""linear of integers: with symmetric weights, the integer formula

acc[n] = sum over k of x[k] * w[n, k]  -  x_zero_point * sum over k of w[n, k]  +  bias[n]
y      = table[requantize(acc * multiplier[n] + residual_term)]
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.integer.lookup import lookup
from fxquant.ops.op import op
from fxquant.qparams import Requantize, Residual, requantize, residual_term


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [..., K], weight int8 [N, K], bias int32 [N], multiplier float32 [N] -> uint8 [..., N].

    `residual`: uint8, of the output's shape. `table`: uint8 [256].
    """
    # float64 holds every int32 sum exactly.
    products = F.linear(x.double(), weight.double())
    acc = (products - x_zero_point * weight.double().sum(1) + bias.double()).int()
    term = None if residual is None or residual_params is None else residual_term(residual, residual_params)
    y = requantize(acc, multiplier, output, term)
    return y if table is None else lookup(y, table)
