"""The observer of means, for what rounding a weight adds to a layer's output on average (passes/convert_biases.py).

    total <- total + round_16(sum of x)        per channel; round_16 keeps 16 bits of a number

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

    `total` is float64 [channels], and `count` says of how many elements each. As a call that nothing reads it stays in
    graphs from which torch.fx removes dead code.
    """

    _is_impure = True  # torch.fx's name for it
    total: Tensor
    count: Tensor

    def __init__(self, axis: int) -> None:
        super().__init__(torch.float32)
        self.axis = axis
        self.register_buffer("total", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @property
    def observed(self) -> bool:
        return float(self.count) > 0

    @property
    def mean(self) -> Tensor:
        """float64 [channels]; 0 if nothing was observed."""
        return self.total / self.count.clamp(min=1)

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """Returns `x`. Raises CalibrationError for another number of channels than before."""
        axis = self.axis % x.dim()
        around = [dim for dim in range(x.dim()) if dim != axis]
        now = x.detach().sum(around, dtype=torch.float64) if around else x.detach().double()
        if self.observed and now.shape != self.total.shape:
            raise CalibrationError(f"{self.place} saw {self.total.numel()} channels before, and {now.numel()} now")
        mantissa, exponent = torch.frexp(now)
        rounded = torch.ldexp(torch.round(mantissa * 2**_BITS), exponent - _BITS)
        self._store(self.total + rounded if self.observed else rounded, self.count + x.numel() // max(now.numel(), 1))
        return x

    def merge_processes(self) -> None:
        self._store(merge.total(merge.same_shape(self.total)), merge.total(self.count))

    def reset_min_max_vals(self) -> None:
        """Forgets everything seen."""
        self._store(torch.zeros_like(self.total), torch.zeros_like(self.count))

    def _store(self, total: Tensor, count: Tensor) -> None:
        self.total.resize_(total.shape).copy_(total)
        self.count.copy_(count)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The buffer takes the number of channels that was saved."""
        saved = state_dict.get(prefix + "total")
        if isinstance(saved, Tensor):
            self.total.resize_(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
