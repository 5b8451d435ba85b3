"""Observers that learn no range: they say what stays as it is, share what another one learns, or keep what they see."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS, ObserverBase
from fxquant.observer.scheme import QScheme
from fxquant.qparams import FLOAT16, QParams


class PassiveObserver(ObserverBase):
    """Base: hands on its input, and has no qparams but those of float16, which are known."""

    @property
    def observed(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Raises ConfigError: there are none."""
        raise self._refusal()

    def qparams(self) -> QParams:
        """Those of float16. Raises ConfigError for another dtype: there are none."""
        if self.dtype is torch.float16:
            return FLOAT16
        raise self._refusal()

    def _refusal(self) -> ConfigError:
        return ConfigError(f"{self.place} stands for {self.dtype}, which has no qparams")

    def extra_repr(self) -> str:
        return f"{self.dtype}, is_dynamic={self.is_dynamic}"


class PlaceholderObserver(PassiveObserver):
    """Stands for a dtype without qparams, such as torch.float16, or for qparams found at run time (`is_dynamic`).

    `custom_op_name`, `compute_dtype` and `eps` are kept as they are given. `by_row`: no scheme was asked for, so that
    each row of a dynamic activation may have a scale of its own. `bias_dtype`: torch.int32 if what multiplies a dynamic
    activation is to round its bias to the steps of its sums; torch.float32 or None if not. Raises ConfigError for
    another one, or one of an activation that is not dynamic.
    """

    @typed
    def __init__(
        self,
        dtype: torch.dtype = torch.float32,
        custom_op_name: str = "",
        compute_dtype: torch.dtype | None = None,
        quant_min: int | None = None,
        quant_max: int | None = None,
        qscheme: Any = None,
        eps: float | None = None,
        is_dynamic: bool = False,
        bias_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(dtype, is_dynamic or compute_dtype is not None)
        self.qscheme = QScheme.PER_TENSOR_AFFINE if qscheme is None else QScheme.of(qscheme)
        self.by_row = qscheme is None
        self.quant_min, self.quant_max = quant_min, quant_max
        self.eps = FLOAT32_EPS if eps is None else eps
        self.custom_op = custom_op_name
        if bias_dtype not in (None, torch.float32, torch.int32):
            raise ConfigError(f"bias_dtype is torch.float32, torch.int32 or None, not {bias_dtype}")
        if bias_dtype is not None and not self.is_dynamic:
            raise ConfigError("bias_dtype is for activations that are quantized at run time: is_dynamic=True")
        self.bias_dtype = bias_dtype


class NoopObserver(PassiveObserver):
    """Stands for a dtype that values are cast to, without any qparams."""

    @typed
    def __init__(self, dtype: torch.dtype = torch.float16, custom_op_name: str = "") -> None:
        super().__init__(dtype)
        self.custom_op = custom_op_name


class ReuseInputObserver(PassiveObserver):
    """For the output of an op that passes values on: it shares the qparams of the op's input."""

    def __init__(self) -> None:
        super().__init__(torch.uint8)


class RecordingObserver(PassiveObserver):
    """Keeps every tensor that it sees, for debugging: memory grows with the data."""

    @typed
    def __init__(self, dtype: torch.dtype = torch.uint8) -> None:
        super().__init__(dtype)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`, of which a copy is kept."""
        self.tensor_val.append(x.detach().clone())
        return x

    def get_tensor_value(self) -> list[Tensor]:
        """All tensors seen, in order."""
        return self.tensor_val
