"""The observer that keeps the most information, as TensorRT calibrates.

    P   the magnitudes up to a threshold, those beyond it counted into the last bin
    Q   the same bins without those beyond, merged into as many groups as there are integers for magnitudes, and the
        count of each group spread evenly over its bins that are not empty

The threshold is the one of the least Kullback-Leibler divergence of P from Q. Migacz 2017, "8-bit inference with
TensorRT" (GTC 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.observer.binned import BinnedObserver


class EntropyObserver(BinnedObserver):
    """Covers magnitudes up to the threshold of the least divergence. Arguments: see BinnedObserver."""

    def clipped_range(self) -> tuple[Tensor, Tensor]:
        both = bool((self.counts.sum(1) > 0).all())
        levels = (self.quant_max - self.quant_min + 1) // (2 if both or self.qscheme.symmetric else 1)
        if levels >= self.per_side:
            return -self.bound, self.bound
        threshold = (levels + divergences(self.counts.sum(0), levels).argmin()) * self.width
        return -threshold, threshold


def divergences(counts: Tensor, levels: int) -> Tensor:
    """KL(P || Q) for each threshold levels, levels + 1, … len(counts), of bins 1 wide; infinite where Q lacks a value.

    With S and n the count and the number of filled bins of a group, T of all and C of those up to the threshold:

        T * KL = sum of P log P  -  sum over groups of P log(S / n)  +  T log(C / T)
    """
    c = counts.double()
    threshold = torch.arange(levels, len(c) + 1, device=c.device)
    sums, filled, entropy = (_cumulative(values) for values in (c, (c > 0).double(), torch.special.xlogy(c, c)))
    edges = (torch.arange(levels + 1, device=c.device) * threshold[:, None]) // levels
    count, bins = (x[edges].diff(dim=1) for x in (sums, filled))
    height = torch.log(count / bins.clamp(min=1))
    last, beyond = c[threshold - 1], sums[-1] - sums[threshold]
    p_log_p = entropy[threshold] - torch.special.xlogy(last, last) + torch.special.xlogy(last + beyond, last + beyond)
    p_log_q = torch.where(count > 0, count * height, 0.0).sum(1)
    p_log_q = p_log_q + torch.where(beyond > 0, beyond * height[:, -1], 0.0)
    result = p_log_p - p_log_q + sums[-1] * torch.log(sums[threshold] / sums[-1])
    return torch.where((beyond > 0) & (last == 0) | (sums[threshold] == 0), torch.inf, result / sums[-1])


def _cumulative(values: Tensor) -> Tensor:
    """y[e] = sum over i < e of values[i]"""
    return torch.nn.functional.pad(values.cumsum(0), (1, 0))
