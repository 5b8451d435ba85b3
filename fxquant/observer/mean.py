"""The observer of means, for what rounding a weight adds to a layer's output on average (passes/convert_biases.py).

    total   <- total + round_16(sum of x)        per channel; round_16 keeps 16 bits of a number
    squares <- squares + round_16(sum of x^2)
    expected = mean * max(0, 1 - sum(var) / n / sum(mean^2))       sums over channels, n: the number of elements of each

The last is the estimate of James and Stein 1961, "Estimation with Quadratic Loss": a mean of few elements is chance,
of which sum(var) / n is to be expected if all true means are 0. What one element's variance is, nothing tells: it is
taken as it is.

float64 adds numbers of 16 bits exactly, where none is 2^30 times another: the order, and which process saw which batch,
make no difference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import CalibrationError
from fxquant.observer import merge
from fxquant.observer.passive import PassiveObserver

_BITS = 16


class MeanObserver(PassiveObserver):
    """Keeps the mean of each channel, along the dimension `axis`, of everything seen. It has no qparams.

    `total` and `squares` are float64 [channels], and `count` says of how many elements each. As a call that nothing
    reads it stays in graphs from which torch.fx removes dead code.
    """

    _is_impure = True  # torch.fx's name for it
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, axis: int) -> None:
        super().__init__(torch.float32)
        self.axis = axis
        self.register_buffer("total", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @property
    def observed(self) -> bool:
        return float(self.count) > 0

    @property
    def mean(self) -> Tensor:
        """float64 [channels]; 0 if nothing was observed."""
        return self.total / self.count.clamp(min=1)

    @property
    def expected(self) -> Tensor:
        """What to expect of data to come, float64 [channels]; see the module."""
        mean, count = self.mean, self.count.clamp(min=1)
        chance = (self.squares / count - mean.square()).clamp(min=0).sum() / count
        surely = 1 - chance / mean.square().sum()
        return mean * torch.nan_to_num(surely).clamp(min=0)

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """Returns `x`. Raises CalibrationError for another number of channels than before."""
        axis = self.axis % x.dim()
        around = [dim for dim in range(x.dim()) if dim != axis]
        values = x.detach()
        now = values.sum(around, dtype=torch.float64) if around else values.double()
        if self.observed and now.shape != self.total.shape:
            raise CalibrationError(f"{self.place} saw {self.total.numel()} channels before, and {now.numel()} now")
        squared = values.double().square()
        added = _rounded(now), _rounded(squared.sum(around) if around else squared)
        total, squares = (self.total + added[0], self.squares + added[1]) if self.observed else added
        self._store(total, squares, self.count + x.numel() // max(now.numel(), 1))
        return x

    def merge_processes(self) -> None:
        total, squares = (merge.total(merge.same_shape(each)) for each in (self.total, self.squares))
        self._store(total, squares, merge.total(self.count))

    def reset_min_max_vals(self) -> None:
        """Forgets everything seen."""
        self._store(torch.zeros_like(self.total), torch.zeros_like(self.squares), torch.zeros_like(self.count))

    def _store(self, total: Tensor, squares: Tensor, count: Tensor) -> None:
        self.total.resize_(total.shape).copy_(total)
        self.squares.resize_(squares.shape).copy_(squares)
        self.count.copy_(count)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The buffers take the number of channels that was saved."""
        saved = state_dict.get(prefix + "total")
        if isinstance(saved, Tensor):
            self.total.resize_(saved.shape)
            self.squares.resize_(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _rounded(x: Tensor) -> Tensor:
    """To 16 bits each."""
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp(torch.round(mantissa * 2**_BITS), exponent - _BITS)
