"""The two ops at the border between real numbers and integers."""

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
def dequantize(x: Tensor, q: QParams, dtype: torch.dtype | None = None) -> Tensor:
    """(x - zero_point) * scale, computed in float32, and of that dtype if no other is given; same shape as `x`."""
    real = qparams.dequantize(x, q)
    return real if dtype is None else real.to(dtype)
