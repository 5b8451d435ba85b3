"""The observer of means, for what rounding a weight adds to a layer's output on average (passes/convert_biases.py).

mean <- mean + (mean(x) - mean) * elements(x) / (elements seen, x included)      per channel, in float64
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import CalibrationError
from fxquant.observer.merge import same_shape, total
from fxquant.observer.passive import PassiveObserver


class MeanObserver(PassiveObserver):
    """Keeps the mean of each channel, along the dimension `axis`, of everything seen. It has no qparams.

    `mean` is float64 [channels], and `count` says of how many elements each. As a call that nothing reads it stays in
    graphs from which torch.fx removes dead code.
    """

    _is_impure = True  # torch.fx's name for it
    mean: Tensor
    count: Tensor

    def __init__(self, axis: int) -> None:
        super().__init__(torch.float32)
        self.axis = axis
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """Returns `x`. Raises CalibrationError for another number of channels than before."""
        axis = self.axis % x.dim()
        around = [dim for dim in range(x.dim()) if dim != axis]
        now = x.detach().mean(around, dtype=torch.float64) if around else x.detach().double()
        if now.shape != self.mean.shape and float(self.count) > 0:
            raise CalibrationError(f"{self.place} saw {self.mean.numel()} channels before, and {now.numel()} now")
        number = x.numel() // max(now.numel(), 1)
        before = self.mean if float(self.count) > 0 else torch.zeros_like(now)
        self._store(before + (now - before) * number / (self.count + number), self.count + number)
        return x

    def merge_processes(self) -> None:
        count = total(self.count)
        self._store(total(same_shape(self.mean) * self.count) / count.clamp(min=1), count)

    def reset_min_max_vals(self) -> None:
        """Forgets everything seen."""
        self._store(torch.zeros_like(self.mean), torch.zeros_like(self.count))

    def _store(self, mean: Tensor, count: Tensor) -> None:
        self.mean.resize_(mean.shape).copy_(mean)
        self.count.copy_(count)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The buffer takes the number of channels that was saved."""
        saved = state_dict.get(prefix + "mean")
        if isinstance(saved, Tensor):
            self.mean.resize_(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
