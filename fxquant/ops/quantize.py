"""The ops at the border between real numbers and integers."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant import qparams
from fxquant.ops.op import op
from fxquant.qparams import QParams


@op()
def quantize(x: Tensor, q: QParams) -> Tensor:
    """clamp(round_half_even(x / scale) + zero_point, quant_min, quant_max), of `q.dtype`; same shape as `x`."""
    return qparams.quantize(x, q)


@op()
def dequantize(x: Tensor, q: QParams) -> Tensor:
    """(x - zero_point) * scale, float32; same shape as `x`."""
    return qparams.dequantize(x, q)


@op()
def dequantize_to(x: Tensor, q: QParams, dtype: torch.dtype) -> Tensor:
    """The same, rounded to another dtype."""
    return qparams.dequantize(x, q).to(dtype)
