"""The observer that clips a given share of the values.

    high   the least edge above 0 such that at most a share 1 - percentile / 100 of all values lies beyond it
    low    the same below 0

0.0 counts as a value. McKinstry et al. 2018, "Discovering low-precision networks close to full-precision networks for
efficient embedded inference" (arXiv:1809.04191); Wu et al. 2020, "Integer quantization for deep learning inference"
(arXiv:2004.09602), who compare 99.9 % to 99.9999 %.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS
from fxquant.observer.binned import BinnedObserver
from fxquant.observer.scheme import QScheme


class PercentileObserver(BinnedObserver):
    """Covers `percentile` percent of the values, on either side of 0. Other arguments: see BinnedObserver.

    Raises ConfigError if `percentile` is not above 50 and at most 100, which is the whole range.
    """

    @typed
    def __init__(
        self,
        percentile: float = 99.99,
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
        if not 50 < percentile <= 100:
            raise ConfigError(f"percentile must be above 50 and at most 100, got {percentile}")
        self.percentile = float(percentile)

    def clipped_range(self) -> tuple[Tensor, Tensor]:
        beyond = self.counts.flip(1).cumsum(1).flip(1)  # [side, edge]: values in this bin and further out
        few = int((self.counts.sum() + self.zeros) * (1 - self.percentile / 100))
        low, high = (beyond > few).sum(1) * self.width
        return -low, high
