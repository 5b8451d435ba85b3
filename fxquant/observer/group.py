"""The observer of weights whose inputs are divided into groups, each with a scale of its own for every output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import FLOAT32_EPS
from fxquant.observer.granularity import PerGroup, get_block_size
from fxquant.observer.minmax import PerChannelMinMaxObserver
from fxquant.observer.scheme import QScheme
from fxquant.qparams import QParams


class PerGroupMinMaxObserver(PerChannelMinMaxObserver):
    """Keeps the range of every `group_size` neighbours along the last dimension of a weight [N, K].

    Its qparams have a scale for each output and group, float32 [N, K / group_size], and no zero point. Other arguments:
    see UniformQuantizationObserverBase. Raises ConfigError for a scheme that is not symmetric per channel, and, when it
    sees one, for a weight that the groups do not divide.
    """

    @typed
    def __init__(
        self,
        group_size: int = 128,
        dtype: torch.dtype = torch.int8,
        qscheme: Any = QScheme.PER_CHANNEL_SYMMETRIC,
        quant_min: int = -127,
        quant_max: int = 127,
        eps: float = FLOAT32_EPS,
    ) -> None:
        super().__init__(0, dtype, qscheme, False, quant_min, quant_max, None, eps)
        if not self.qscheme.symmetric or not isinstance(group_size, int) or group_size < 1:
            raise ConfigError(
                f"groups are of one input or more and symmetric; got {group_size!r} and {self.qscheme.value}"
            )
        self.group_size = group_size
        self.shape: tuple[int, int] = (0, 0)  # of the scales

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`. Raises ConfigError unless it is a matrix that the groups divide."""
        if x.dim() != 2:
            raise ConfigError(f"{self.place} divides the inputs of matrices; got a tensor of shape {list(x.shape)}")
        block = get_block_size(tuple(x.shape), PerGroup(self.group_size))
        self.shape = (x.shape[0], x.shape[1] // block[1])
        super().forward(x.reshape(-1, block[1]))
        return x

    def qparams(self) -> QParams:
        scale, _ = self.calculate_qparams()
        return QParams(scale.reshape(self.shape), 0, self.quant_min, self.quant_max, self.dtype)
