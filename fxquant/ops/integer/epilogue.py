"""How the sums of a linear or convolution become its outputs, in integers or in float32:

y = table[requantize((sum + bias) * multiplier + residual_term)]        output is a Requantize, bias int32
y = clamp(sum * multiplier + bias, low, high)                           output is a FloatOutput, bias float32
"""

from __future__ import annotations

from torch import Tensor

from fxquant.errors import InputError
from fxquant.ops.integer.lookup import lookup
from fxquant.qparams import FloatOutput, Requantize, Residual, requantize, residual_term, to_float


def finished(
    sums: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    output: Requantize | FloatOutput,
    residual: Tensor | None,
    residual_params: Residual | None,
    table: Tensor | None,
) -> Tensor:
    """`sums`: float64 that holds every int32 exactly; `bias` and `multiplier` broadcast against it.

    Raises InputError for a residual or a table where the output is float.
    """
    if isinstance(output, FloatOutput):
        if residual is not None or table is not None:
            raise InputError("an op whose output is float takes neither a residual nor a table")
        return to_float(sums.int(), multiplier, bias, output)
    term = None if residual is None or residual_params is None else residual_term(residual, residual_params)
    y = requantize((sums + bias.double()).int(), multiplier, output, term)
    return y if table is None else lookup(y, table)
