"""The observer that clips: it learns the distribution of the data and picks the range of the least expected error.

    error(low, high) =   sum over x < low of (low - x)^2  +  sum over x > high of (x - high)^2      clipped
                       + scale(low, high)^2 / 12 * (number of x that are not 0)                     rounded

as rounding to a grid of step `scale` adds noise of variance scale^2 / 12 (Widrow), and 0.0 is on every grid. Each sum
over one tail is a function of one bound, found for all bounds at once from cumulative sums of the histogram, so all
pairs (low, high) are compared as one matrix.

Only a tail whose values are rare enough is cut: the noise that a smaller range saves is spread over all values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.observer.binned import BinnedObserver


class HistogramObserver(BinnedObserver):
    """Covers the range of the least squared quantization error, of everything seen. Arguments: see BinnedObserver."""

    def clipped_range(self) -> tuple[Tensor, Tensor]:
        """The best bounds on edges of bins: a coarse grid over all pairs, then all pairs around its best."""
        counts = self.counts.double()
        tails = clipped_error(counts[0]), clipped_error(counts[1])
        step = max(1, self.per_side // 128)
        coarse = torch.arange(0, self.per_side + 1, step, device=counts.device)
        low, high = self._best(tails, coarse, coarse)
        near = torch.arange(-step, step + 1, device=counts.device)
        low, high = self._best(tails, (low + near).clamp(0, self.per_side), (high + near).clamp(0, self.per_side))
        return -low * self.width, high * self.width

    def _best(self, tails: tuple[Tensor, Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Of all pairs of the bins' edges `low` below 0 and `high` above, that of the least error."""
        low, high = torch.meshgrid(low, high, indexing="ij")
        levels = self.quant_max - self.quant_min
        scale = 2 * torch.maximum(low, high) / levels if self.qscheme.symmetric else (low + high) / levels
        error = tails[0][low] + tails[1][high] + scale.square() / 12 * self.counts.sum()
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
