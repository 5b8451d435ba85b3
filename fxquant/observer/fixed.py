"""Observers that learn nothing: their qparams are known beforehand, or there are none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import ObserverBase, usual_qparams
from fxquant.observer.scheme import QScheme, integer_dtype, integer_range
from fxquant.qparams import QParams


class FixedQParamsObserver(ObserverBase):
    """For values whose range the maths gives, such as those of sigmoid. Per tensor only.

    Raises ConfigError if `scale` is not positive and finite, or `zero_point` no integer in quant_min..quant_max.
    """

    scale: Tensor
    zero_point: Tensor

    @typed
    def __init__(
        self,
        scale: float,
        zero_point: int,
        dtype: torch.dtype = torch.uint8,
        qscheme: Any = QScheme.PER_TENSOR_AFFINE,
        quant_min: int = 0,
        quant_max: int = 255,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(integer_dtype(dtype), is_dynamic)
        self.qscheme = QScheme.of(qscheme)
        self.quant_min, self.quant_max = integer_range(self.dtype, quant_min, quant_max, reduce_range=False)
        if is_dynamic or self.qscheme.per_channel:
            raise ConfigError("FixedQParamsObserver is for static, per-tensor quantization")
        if not 0 < scale < math.inf or zero_point not in range(self.quant_min, self.quant_max + 1):
            integers = f"{self.quant_min}..{self.quant_max}"
            raise ConfigError(
                f"scale must be > 0 and finite, zero_point an integer in {integers}; got {scale} and {zero_point}"
            )
        self.register_buffer("scale", torch.tensor([scale], dtype=torch.float32))
        self.register_buffer("zero_point", torch.tensor([zero_point], dtype=torch.int32))

    @property
    def observed(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        return self.scale, self.zero_point

    def qparams(self) -> QParams:
        return usual_qparams(self)

    def extra_repr(self) -> str:
        return f"scale={float(self.scale):.6g}, zero_point={int(self.zero_point)}, {self.dtype}"
