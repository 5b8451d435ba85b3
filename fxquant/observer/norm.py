"""Observers that try ranges, and measure what each does to the values seen.

    error(low, high) = sum over the bins of count * |x - dequantize(quantize(x))|^p,   x in the middle of a bin

MSE is p = 2: Sung et al. 2015, "Resiliency of deep neural networks under quantization" (arXiv:1511.06488). Other p:
Nahshan et al. 2019, "Loss aware post-training quantization" (arXiv:1911.07190): a larger p weighs the
clipped values more. Unlike HistogramObserver, which knows rounding as noise, these round.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS
from fxquant.observer.binned import BinnedObserver
from fxquant.observer.scheme import QScheme, choose_qparams

# How many bounds on either side of 0 are tried at first; then as many around the best, each time that much closer.
_CANDIDATES, _ROUNDS = 16, 3


class _SearchingObserver(BinnedObserver):
    """Covers the range whose error to the power `p` is least."""

    p: float

    def clipped_range(self) -> tuple[Tensor, Tensor]:
        """Computed in units of `bound`, where no power overflows."""
        sides = (torch.stack((-self.min_val, self.max_val)).double() / self.bound).clamp(min=0)
        steps = torch.arange(1, _CANDIDATES + 1, device=sides.device) / _CANDIDATES
        low, high = self._best(*(side * steps for side in sides))
        for spread in (_CANDIDATES**-k for k in range(1, _ROUNDS + 1)):
            near = torch.linspace(-spread, spread, _CANDIDATES + 1, dtype=torch.float64, device=sides.device)
            ranges = ((b + near * s).clamp(min=0).minimum(s) for b, s in zip((low, high), sides, strict=True))
            low, high = self._best(*ranges)
        return -low * self.bound, high * self.bound

    def _best(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Of all pairs of magnitudes below and above 0, that of the least error."""
        pairs = torch.cartesian_prod(low.unique(), high.unique())
        pairs = pairs[pairs.sum(1) > 0]
        errors = torch.cat([self._errors(part.float()) for part in pairs.split(_CANDIDATES)])
        low, high = pairs[errors.argmin()]
        return low, high

    def _errors(self, pairs: Tensor) -> Tensor:
        scale, zero_point = choose_qparams(
            -pairs[:, 0],
            pairs[:, 1],
            quant_min=self.quant_min,
            quant_max=self.quant_max,
            dtype=self.dtype,
            symmetric=self.qscheme.symmetric,
            eps=self.eps / float(self.bound),
        )
        middle = (torch.arange(self.per_side, device=pairs.device) + 0.5) / self.per_side
        there = self.counts.flatten() > 0
        x, counts = torch.cat((-middle, middle))[there], self.counts.flatten()[there].double()
        step, offset = scale[:, None], zero_point[:, None]
        real = torch.round(x / step).clamp(self.quant_min - offset, self.quant_max - offset) * step
        return (x - real).abs().pow(self.p).double() @ counts


class PNormObserver(_SearchingObserver):
    """Covers the range whose error to the power `p` is least. Other arguments: see BinnedObserver.

    Raises ConfigError if `p` is not above 0.
    """

    @typed
    def __init__(
        self,
        p: float = 2.4,
        bins: int = 2048,
        dtype: torch.dtype = torch.uint8,
        qscheme: Any = QScheme.PER_TENSOR_AFFINE,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = FLOAT32_EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(bins, dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        if not p > 0:
            raise ConfigError(f"p must be above 0, got {p}")
        self.p = float(p)


class MSEObserver(_SearchingObserver):
    """Covers the range of the least mean squared error, measured. Arguments: see BinnedObserver."""

    p = 2.0
