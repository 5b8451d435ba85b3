"""linear of integers: with symmetric weights, the integer formula

acc[n] = sum over k of x[k] * w[n, k]  -  x_zero_point * sum over k of w[n, k]  +  bias[n]
y      = table[requantize(acc * multiplier[n] + residual_term)]
or, in float32 and without the bias in acc, y = clamp(acc * multiplier[n] + bias[n], low, high)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.integer.epilogue import finished
from fxquant.ops.op import op
from fxquant.qparams import FloatOutput, Requantize, Residual


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [..., K], weight int8 [N, K], bias int32 [N], multiplier float32 [N] -> uint8 [..., N].

    `residual`: uint8, of the output's shape. `table`: uint8 [256]. With a FloatOutput neither of them, bias float32 and
    float32 [..., N].
    """
    # float64 holds every int32 sum exactly.
    sums = F.linear(x.double(), weight.double()) - x_zero_point * weight.double().sum(1)
    return finished(sums, bias, multiplier, output, residual, residual_params, table)
