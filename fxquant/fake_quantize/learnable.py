"""A fake-quantize whose scale and zero point are trained: LSQ and LSQ+."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fxquant.errors import ConfigError
from fxquant.fake_quantize.fake_quantize import FakeQuantize, ObserverFactory
from fxquant.observer.base import FLOAT32_EPS, usual_qparams
from fxquant.qparams import QParams


class _LearnableFakeQuantize(FakeQuantize):
    """Starts as a FakeQuantize; from `enable_param_learning` on, `scale` and `zero_point` are trained.

    `channel_len`: how many channels, -1 for one scale. `use_grad_scaling` scales their gradients by
    1 / sqrt(x.numel() * quant_max), as LSQ does.
    """

    learning_enabled: Tensor

    def __init__(
        self,
        observer: ObserverFactory,
        quant_min: int = 0,
        quant_max: int = 255,
        scale: float = 1.0,
        zero_point: float = 0.0,
        channel_len: int = -1,
        use_grad_scaling: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        if channel_len != -1 and (channel_len < 1 or self.ch_axis is None):
            raise ConfigError("channel_len is the number of channels of a per-channel observer, else -1")
        count = max(channel_len, 1)
        del self.scale, self.zero_point
        self.scale = nn.Parameter(torch.full((count,), float(scale)))
        self.zero_point = nn.Parameter(torch.full((count,), float(zero_point)))
        self.use_grad_scaling = use_grad_scaling
        self.register_buffer("learning_enabled", torch.zeros(1, dtype=torch.uint8))
        self.enable_static_observation()

    def enable_param_learning(self) -> None:
        """Scale and zero point are trained, and no longer observed."""
        self._switch(learning=True, observer=False, fake_quant=True)

    def enable_static_estimate(self) -> None:
        """Scale and zero point follow the data, and values are fake-quantized."""
        self._switch(learning=False, observer=True, fake_quant=True)

    def enable_static_observation(self) -> None:
        """Scale and zero point follow the data; values pass unchanged."""
        self._switch(learning=False, observer=True, fake_quant=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.learning_enabled[0]:
            with torch.no_grad():
                return super().forward(x)
        if not self.fake_quant_enabled[0]:
            return x
        shrink = 1 / math.sqrt(x.numel() * self.quant_max) if self.use_grad_scaling else 1.0
        scale = _with_gradient_times(self.scale.clamp(min=FLOAT32_EPS), shrink)
        zero_point = _rounded(_with_gradient_times(self.zero_point, shrink).clamp(self.quant_min, self.quant_max))
        if self.ch_axis is not None:
            shape = [1] * x.dim()
            shape[self.ch_axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        integer = (_rounded(x / scale) + zero_point).clamp(self.quant_min, self.quant_max)
        return (integer - zero_point) * scale

    @property
    def observed(self) -> bool:
        return bool(self.learning_enabled[0]) or super().observed

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        if not self.learning_enabled[0]:
            return super().calculate_qparams()
        zero_point = self.zero_point.detach().round().clamp(self.quant_min, self.quant_max).to(torch.int32)
        return self.scale.detach().clamp(min=FLOAT32_EPS), zero_point

    def qparams(self) -> QParams:
        return usual_qparams(self)

    def _switch(self, learning: bool, observer: bool, fake_quant: bool) -> None:
        self.learning_enabled.fill_(int(learning))
        self.enable_observer(observer)
        self.enable_fake_quant(fake_quant)
        self.scale.requires_grad = self.zero_point.requires_grad = learning

    def _resize(self, shape: torch.Size) -> None:
        if self.scale.shape != shape:
            raise ConfigError(f"{self.place} was made for {self.scale.numel()} channels and saw {shape.numel()}")


def _rounded(x: Tensor) -> Tensor:
    """round_half_even(x), with the gradient of x."""
    return x + (torch.round(x) - x).detach()


def _with_gradient_times(x: Tensor, factor: float) -> Tensor:
    """x, with `factor` times its gradient."""
    return x * factor + (x * (1 - factor)).detach()
