"""The observer that clips: it learns the distribution of the data and picks the range of the least expected error.

    error(low, high) =   sum over x < low of (low - x)^2  +  sum over x > high of (x - high)^2      clipped
                       + scale(low, high)^2 / 12 * (number of x that are not 0)                     rounded

as rounding to a grid of step `scale` adds noise of variance scale^2 / 12 (Widrow), and 0.0 is on every grid. Each sum
over one tail is a function of one bound, found for all bounds at once from cumulative sums of the histogram, so all
pairs (low, high) are compared as one matrix.

Only a tail whose values are rare enough is cut: the noise that a smaller range saves is spread over all values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS, UniformQuantizationObserverBase, value_range
from fxquant.observer.scheme import QScheme

_CHUNK = 1 << 22  # torch.histc counts in float32, exactly up to 2^24


class HistogramObserver(UniformQuantizationObserverBase):
    """Keeps a histogram of everything seen but 0.0, and covers the range of the least squared quantization error.

    `bins`: how many bins (an even number) on either side of 0. Other arguments: see UniformQuantizationObserverBase.
    Memory is 16 * bins bytes whatever is seen. The bins are equally wide from -bound to bound. When values outside
    arrive, neighbours are merged in pairs, which doubles `bound`; so no count is ever split or approximated.
    """

    histogram: Tensor
    bound: Tensor

    def __init__(
        self,
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
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        if is_dynamic:
            raise ConfigError("HistogramObserver is for static quantization; take MinMaxObserver if is_dynamic")
        if bins < 2 or bins % 2:
            raise ConfigError(f"bins must be even, so that neighbours can be merged; got {bins}")
        self.bins = bins
        device = self.min_val.device
        self.register_buffer("histogram", torch.zeros(2 * bins, dtype=torch.int64, device=device))
        self.register_buffer("bound", torch.zeros((), device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`. A tensor of integers is not looked at. CalibrationError for no elements, NaN or infinity."""
        if x.is_floating_point():
            values = x.detach().float()
            low, high = value_range(values, None, self.place)
            self._widen(float(torch.maximum(-low, high)))
            self.min_val.copy_(torch.minimum(self.min_val, low))
            self.max_val.copy_(torch.maximum(self.max_val, high))
            self._count(values)
        return x

    def learned_range(self) -> tuple[Tensor, Tensor]:
        """The range of the least error."""
        if float(self.bound) == 0:
            return self.min_val, self.max_val
        low, high = self._search()
        return torch.maximum(self.min_val, low), torch.minimum(self.max_val, high)

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        self.histogram.zero_()
        self.bound.zero_()

    def _widen(self, needed: float) -> None:
        if float(self.bound) == 0:
            self.bound.fill_(needed)
        while float(self.bound) < needed:
            pairs = self.histogram.view(-1, 2).sum(1)
            self.histogram.zero_()
            self.histogram[self.bins // 2 : -self.bins // 2] = pairs
            self.bound.mul_(2)

    def _count(self, x: Tensor) -> None:
        bound = float(self.bound)
        if bound == 0:
            return
        one_zero = torch.histc(x.new_zeros(1), 2 * self.bins, -bound, bound)
        for chunk in torch.split(x.flatten(), _CHUNK):
            counts = torch.histc(chunk, 2 * self.bins, -bound, bound)
            zeros = torch.count_nonzero(chunk == 0)  # of floats it would take five times as long
            self.histogram.add_((counts - zeros * one_zero).to(torch.int64))

    def _search(self) -> tuple[Tensor, Tensor]:
        """The best bounds on edges of bins: a coarse grid over all pairs, then all pairs around its best."""
        unit = float(self.bound) / self.bins
        counts = self.histogram.double()
        tails = clipped_error(counts[: self.bins].flip(0)), clipped_error(counts[self.bins :])
        step = max(1, self.bins // 128)
        coarse = torch.arange(0, self.bins + 1, step, device=counts.device)
        low, high = self._best(tails, coarse, coarse)
        near = torch.arange(-step, step + 1, device=counts.device)
        low, high = self._best(tails, (low + near).clamp(0, self.bins), (high + near).clamp(0, self.bins))
        return -low * unit, high * unit

    def _best(self, tails: tuple[Tensor, Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Of all pairs of the bins' edges `low` below 0 and `high` above, that of the least error."""
        low, high = torch.meshgrid(low, high, indexing="ij")
        levels = self.quant_max - self.quant_min
        scale = 2 * torch.maximum(low, high) / levels if self.qscheme.symmetric else (low + high) / levels
        error = tails[0][low] + tails[1][high] + scale.square() / 12 * self.histogram.sum()
        best = error.argmin()
        return low.flatten()[best], high.flatten()[best]


def clipped_error(counts: Tensor) -> Tensor:
    """The squared error of cutting at each edge of the bins, which are 1 wide, count up from 0 and are filled evenly.

    error[e] = sum over i >= e of counts[i] * ((i + 1/2 - e)^2 + 1/12),   e = 0 .. len(counts)
    """
    middle = torch.arange(len(counts), dtype=counts.dtype, device=counts.device) + 0.5
    edge = torch.arange(len(counts) + 1, dtype=counts.dtype, device=counts.device)
    n, first, second = (_sum_from(counts * weight) for weight in (1.0, middle, middle.square() + 1 / 12))
    return (second - 2 * edge * first + edge.square() * n).clamp(min=0)


def _sum_from(values: Tensor) -> Tensor:
    """y[e] = sum over i >= e of values[i],   e = 0 .. len(values)"""
    return torch.nn.functional.pad(values.flip(0).cumsum(0).flip(0), (0, 1))
