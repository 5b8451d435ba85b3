"""Observers that keep the least and the greatest value, per tensor or per channel.

min-max           low <- min(low, min(x))                              high likewise
moving average    low <- low + averaging_constant * (min(x) - low)     high likewise; the first x counts in full
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import CalibrationError, ConfigError
from fxquant.observer.base import FLOAT32_EPS, UniformQuantizationObserverBase, is_real, value_range
from fxquant.observer.merge import maximum, mean_of_observed, minimum, same_shape, total
from fxquant.observer.scheme import QScheme


class RangeObserver(UniformQuantizationObserverBase):
    """Base: all that is known of the data is a range, scalar or per channel; with headroom, also how much it is of."""

    count: Tensor

    def _count_values(self) -> None:
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=self.min_val.device))

    @property
    def values_seen(self) -> int:
        return int(self.count)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`. A tensor of integers is not looked at.

        Raises CalibrationError for no elements, NaN or infinity, or another number of channels than before.
        """
        if is_real(x, self.place):
            low, high = value_range(x.detach().float(), self.ch_axis, self.place)
            self._check_shape(low)
            self._store(*self.merged(low, high))
            if self.headroom:
                self.count += x.numel()
        return x

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        if self.headroom:
            self.count.zero_()

    def merge_processes(self) -> None:
        self._store(minimum(same_shape(self.min_val)), maximum(same_shape(self.max_val)))
        self._merge_count()

    def average_processes(self) -> None:
        """As `merge_processes`, for a range that follows the batches: the mean of the processes that saw any."""
        observed, low, high = self.observed, same_shape(self.min_val), same_shape(self.max_val)
        low, high = mean_of_observed(low, observed), mean_of_observed(high, observed)
        if bool(torch.isfinite(low).all()):
            self._store(low, high)
        self._merge_count()

    def _merge_count(self) -> None:
        if self.headroom:
            self.count.copy_(total(self.count))

    def merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The range once `low`..`high` was seen too; nothing may have been seen before."""
        return torch.minimum(self.min_val, low), torch.maximum(self.max_val, high)

    def _check_shape(self, low: Tensor) -> None:
        if self.observed and low.shape != self.min_val.shape:
            before, now = self.min_val.numel(), low.numel()
            raise CalibrationError(f"{self.place} saw {before} channels before, and {now} now, on axis {self.ch_axis}")

    def _store(self, low: Tensor, high: Tensor) -> None:
        self.min_val.resize_(low.shape).copy_(low)
        self.max_val.resize_(high.shape).copy_(high)


def _share(constant: float) -> float:
    """What a batch counts in a moving average; ConfigError unless it is in 0..1."""
    if not 0 <= constant <= 1:
        raise ConfigError(f"averaging_constant must be in 0..1, got {constant}")
    return constant


def moved(
    before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor], averaging_constant: float
) -> tuple[Tensor, Tensor]:
    """The range `before`, moved by a part of the way towards `now`."""
    low, high = (old + averaging_constant * (new - old) for old, new in zip(before, now, strict=True))
    return low, high


class MinMaxObserver(RangeObserver):
    """Keeps the range of everything seen. Arguments: see UniformQuantizationObserverBase."""


class MovingAverageMinMaxObserver(MinMaxObserver):
    """Follows the range of the batches. Other arguments: see UniformQuantizationObserverBase.

    `values`: so many calls are one batch, whose range holds all of them. More than 1 where values share qparams, such
    as what is concatenated: a mean of their ranges would cut off the widest.

    `warm_up`: the range of so many batches is what the average starts from. With 1 it is the first one's, which still
    makes up half of it 70 batches later; a prepared model starts from as many as the average spans. What a state_dict
    brings has been started from.
    """

    values = 1
    warm_up = 1

    @typed
    def __init__(
        self,
        averaging_constant: float = 0.01,
        dtype: torch.dtype = torch.uint8,
        qscheme: Any = QScheme.PER_TENSOR_AFFINE,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = FLOAT32_EPS,
        is_dynamic: bool = False,
        headroom: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, None, eps, is_dynamic, headroom)
        self.averaging_constant = _share(averaging_constant)
        self._batches: float = 0
        self._seen = 0  # of the values of this batch
        self._range = self._before = (self.min_val, self.max_val)  # of this batch; of those before it

    def merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if self._seen == 0:
            self._before = self.min_val.clone(), self.max_val.clone()
            self._range = low, high
            self._batches += 1
        else:
            self._range = torch.minimum(self._range[0], low), torch.maximum(self._range[1], high)
        self._seen = (self._seen + 1) % self.values
        if self._batches <= self.warm_up or not bool(torch.isfinite(self._before[0])):
            return torch.minimum(self._before[0], self._range[0]), torch.maximum(self._before[1], self._range[1])
        return moved(self._before, self._range, self.averaging_constant)

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        self._batches, self._seen = 0, 0

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._batches = math.inf if self.observed else 0

    def merge_processes(self) -> None:
        self.average_processes()


class PerChannelMinMaxObserver(RangeObserver):
    """Keeps the range of each index along `ch_axis`. Other arguments: see UniformQuantizationObserverBase."""

    per_channel: ClassVar[bool] = True

    @typed
    def __init__(
        self,
        ch_axis: int = 0,
        dtype: torch.dtype = torch.uint8,
        qscheme: Any = QScheme.PER_CHANNEL_AFFINE,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = FLOAT32_EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        self.ch_axis = ch_axis

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The buffers take the number of channels that was saved."""
        for name in ("min_val", "max_val"):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                getattr(self, name).resize_(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """Follows the range of each index along `ch_axis`. Other arguments: see UniformQuantizationObserverBase."""

    @typed
    def __init__(
        self,
        averaging_constant: float = 0.01,
        ch_axis: int = 0,
        dtype: torch.dtype = torch.uint8,
        qscheme: Any = QScheme.PER_CHANNEL_AFFINE,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = FLOAT32_EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(ch_axis, dtype, qscheme, reduce_range, quant_min, quant_max, None, eps, is_dynamic)
        self.averaging_constant = _share(averaging_constant)

    def merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if not self.observed:
            return low, high
        return moved((self.min_val, self.max_val), (low, high), self.averaging_constant)

    def merge_processes(self) -> None:
        self.average_processes()
