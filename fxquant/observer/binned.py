"""What the observers share that learn the distribution of the data: counts of magnitudes, in bins, below and above 0.

    counts[0, i]   values x < 0 of bin i       floor(|x| * bins / bound) = i
    counts[1, i]   values x > 0 of bin i       0.0 is counted apart: every grid holds it exactly

`bound` is a power of two above every |x|. It doubles when something larger arrives, and neighbouring bins are merged in
pairs. Both are exact, so the counts of data do not depend on its order, on its batches or on which process saw it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS, UniformQuantizationObserverBase, is_real, value_range
from fxquant.observer.merge import maximum, minimum, total
from fxquant.observer.scheme import QScheme

_CHUNK = 1 << 22  # torch.histc counts in float32, exactly up to 2^24


class BinnedObserver(UniformQuantizationObserverBase):
    """Base. `bins`: at least so many (an even number) are between 0 and the greatest magnitude.

    Other arguments: see UniformQuantizationObserverBase. Memory is 32 * bins bytes whatever is seen.
    """

    counts: Tensor
    zeros: Tensor
    bound: Tensor

    @typed
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
        headroom: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, headroom)
        if is_dynamic:
            raise ConfigError(f"{type(self).__name__} is for static quantization; take MinMaxObserver if is_dynamic")
        if bins < 2 or bins % 2:
            raise ConfigError(f"bins must be even, so that neighbours can be merged; got {bins}")
        device = self.min_val.device
        self.bins = bins
        self.per_side = 2 * bins  # of which half are in use at least: `bound` is at most twice the greatest magnitude
        self.register_buffer("counts", torch.zeros(2, self.per_side, dtype=torch.int64, device=device))
        self.register_buffer("zeros", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("bound", torch.zeros((), dtype=torch.float64, device=device))

    @abstractmethod
    def clipped_range(self) -> tuple[Tensor, Tensor]:
        """Low and high, of which `learned_range` takes what was seen at all."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`. A tensor of integers is not looked at. CalibrationError for no elements, NaN or infinity."""
        if is_real(x, self.place):
            values = x.detach().float()
            low, high = value_range(values, None, self.place)
            self._widen(_power_above(float(torch.maximum(-low, high))))
            self.min_val.copy_(torch.minimum(self.min_val, low))
            self.max_val.copy_(torch.maximum(self.max_val, high))
            for chunk in torch.split(values.flatten(), _CHUNK):
                self._count(chunk, float(low) < 0, float(high) > 0)
        return x

    def learned_range(self) -> tuple[Tensor, Tensor]:
        """What `clipped_range` says, within what was seen."""
        if float(self.bound) == 0:
            return self.min_val, self.max_val
        low, high = self.clipped_range()
        return torch.maximum(self.min_val, low), torch.minimum(self.max_val, high)

    @property
    def values_seen(self) -> int:
        return int(self.counts.sum() + self.zeros)

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        self.counts.zero_()
        self.zeros.zero_()
        self.bound.zero_()

    def merge_processes(self) -> None:
        self._widen(float(maximum(self.bound)))
        self.counts.copy_(total(self.counts))
        self.zeros.copy_(total(self.zeros))
        self.min_val.copy_(minimum(self.min_val))
        self.max_val.copy_(maximum(self.max_val))

    @property
    def width(self) -> float:
        """Of a bin."""
        return float(self.bound) / self.per_side

    def _widen(self, bound: float) -> None:
        if float(self.bound) == 0:
            self.bound.fill_(bound)
        while float(self.bound) < bound:
            pairs = self.counts.view(2, -1, 2).sum(2)
            self.counts.zero_()
            self.counts[:, : self.per_side // 2] = pairs
            self.bound.mul_(2)

    def _count(self, x: Tensor, below: bool, above: bool) -> None:
        zeros = int(torch.count_nonzero(x == 0))  # of floats it would take five times as long
        self.zeros.add_(zeros)
        for sign, any_there in ((0, below), (1, above)):
            if any_there:
                counts = torch.histc(x if sign else -x, self.per_side, 0.0, float(self.bound)).to(torch.int64)
                counts[0] -= zeros
                self.counts[sign] += counts


def _power_above(value: float) -> float:
    """The least power of two that is greater than `value`; 0 for 0."""
    return math.ldexp(1.0, math.frexp(value)[1]) if value > 0 else 0.0
