"""Observers that train: they hand on what int8 would make of a value.

    forward     y = dequantize(quantize(x, q), q)            q from the observer within
    backward    dx = dy where quantize(x, q) did not saturate, else 0

so the rounding counts as the identity: the straight-through estimator (Bengio et al. 2013; Jacob et al. 2017, section
3). A learnable fake-quantize also has gradients for its scale and its zero point (Esser et al. 2020, "Learned Step Size
Quantization"; Bhalgat et al. 2020, "LSQ+").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fxquant import qparams
from fxquant.errors import ConfigError
from fxquant.observer import (
    FixedQParamsObserver,
    HistogramObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    ObserverBase,
    QScheme,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
)
from fxquant.observer.base import FLOAT32_EPS, usual_qparams
from fxquant.qparams import QParams, along_axis

__all__ = [
    "FakeQuantize",
    "FakeQuantizeBase",
    "FixedQParamsFakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "default_affine_fixed_qparams_fake_quant",
    "default_dynamic_fake_quant",
    "default_embedding_fake_quant",
    "default_embedding_fake_quant_4bit",
    "default_fake_quant",
    "default_fixed_qparams_range_0to1_fake_quant",
    "default_fixed_qparams_range_neg1to1_fake_quant",
    "default_fused_act_fake_quant",
    "default_fused_per_channel_wt_fake_quant",
    "default_fused_wt_fake_quant",
    "default_histogram_fake_quant",
    "default_per_channel_weight_fake_quant",
    "default_symmetric_fixed_qparams_fake_quant",
    "default_weight_fake_quant",
    "disable_fake_quant",
    "disable_observer",
    "enable_fake_quant",
    "enable_observer",
    "fused_per_channel_wt_fake_quant_range_neg_127_to_127",
    "fused_wt_fake_quant_range_neg_127_to_127",
]

ObserverFactory = Callable[..., Any]


class _StraightThrough(torch.autograd.Function):
    """Fake-quantization whose gradient passes where nothing saturated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, q: QParams) -> Tensor:
        scale, zero_point = along_axis(q.scale, x, q.axis), along_axis(q.zero_point, x, q.axis)
        if isinstance(zero_point, Tensor) and zero_point.is_floating_point():
            integer = torch.round(x / scale + zero_point)
            real = (integer.clamp(q.quant_min, q.quant_max) - zero_point) * scale
        else:
            integer = torch.round(x / scale) + zero_point
            real = qparams.dequantize(qparams.quantize(x, q), q)
        ctx.save_for_backward((integer >= q.quant_min) & (integer <= q.quant_max))
        return real.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (within,) = ctx.saved_tensors
        return gradients[0] * within, None


class FakeQuantizeBase(ObserverBase):
    """Base: two switches, for observing and for fake-quantizing, kept in the state_dict."""

    fake_quant_enabled: Tensor
    observer_enabled: Tensor

    def __init__(self, dtype: torch.dtype, is_dynamic: bool = False) -> None:
        super().__init__(dtype, is_dynamic)
        self.register_buffer("fake_quant_enabled", torch.ones(1, dtype=torch.uint8))
        self.register_buffer("observer_enabled", torch.ones(1, dtype=torch.uint8))

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Whether the output is fake-quantized, or the input as it is."""
        self.fake_quant_enabled.fill_(int(enabled))

    def disable_fake_quant(self) -> None:
        """The input is handed on as it is."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Whether the range still follows the data."""
        self.observer_enabled.fill_(int(enabled))

    def disable_observer(self) -> None:
        """The qparams stay what they are."""
        self.enable_observer(False)


class FakeQuantize(FakeQuantizeBase):
    """Observes with an `observer`, made with `quant_min`, `quant_max` (if given) and `observer_kwargs`.

    `scale` (float32) and `zero_point` (int32), of shape [1] or [channels], hold the qparams that were used last.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        observer: ObserverFactory = MovingAverageMinMaxObserver,
        quant_min: int | None = None,
        quant_max: int | None = None,
        is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        integers = {"quant_min": quant_min, "quant_max": quant_max, "is_dynamic": is_dynamic or None}
        made: Any = observer(**observer_kwargs, **{key: value for key, value in integers.items() if value is not None})
        if not isinstance(made, ObserverBase):
            raise ConfigError(f"a FakeQuantize observes with an observer of fxquant.observer; got {made!r}")
        super().__init__(made.dtype, made.is_dynamic)
        self.activation_post_process: Any = made
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """`x`, fake-quantized if that is enabled; observed first if that is."""
        if not x.is_floating_point():
            return x
        self.activation_post_process.where = self.where
        if self.observer_enabled[0]:
            if self.is_dynamic:
                self.activation_post_process.reset_min_max_vals()
            self.activation_post_process(x.detach())
            scale, zero_point = self.calculate_qparams()
            self._resize(scale.shape)
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        if not self.fake_quant_enabled[0]:
            return x
        fake: Tensor = _StraightThrough.apply(x, self.qparams())  # type: ignore[no-untyped-call]
        return fake

    @property
    def observed(self) -> bool:
        return bool(self.activation_post_process.observed)

    @property
    def qscheme(self) -> QScheme:
        """The qscheme of the observer."""
        found: QScheme = self.activation_post_process.qscheme
        return found

    @property
    def ch_axis(self) -> int | None:
        """The axis with a scale for each index, if it is per channel."""
        return getattr(self.activation_post_process, "ch_axis", None)

    @property
    def quant_min(self) -> int:
        """The least integer used."""
        return int(self.activation_post_process.quant_min)

    @property
    def quant_max(self) -> int:
        """The greatest integer used."""
        return int(self.activation_post_process.quant_max)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        scale, zero_point = self.activation_post_process.calculate_qparams()
        return scale, zero_point

    def qparams(self) -> QParams:
        found: QParams = self.activation_post_process.qparams()
        return found

    def extra_repr(self) -> str:
        on = {name: bool(getattr(self, f"{name}_enabled")[0]) for name in ("fake_quant", "observer")}
        return ", ".join(f"{name} {'on' if value else 'off'}" for name, value in on.items())

    def _resize(self, shape: torch.Size) -> None:
        self.scale.resize_(shape)
        self.zero_point.resize_(shape)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The buffers take the number of channels that was saved."""
        saved = state_dict.get(f"{prefix}scale")
        if isinstance(saved, Tensor):
            self._resize(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """A FakeQuantize whose observer is a moving average; the name is torch.ao's, the arithmetic is the same."""

    def __init__(
        self,
        observer: ObserverFactory = MovingAverageMinMaxObserver,
        quant_min: int = 0,
        quant_max: int = 255,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        moving = (MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver)
        if not isinstance(self.activation_post_process, moving):
            kind = type(self.activation_post_process).__name__
            raise ConfigError(f"FusedMovingAvgObsFakeQuantize observes with a moving average, not with a {kind}")


class FixedQParamsFakeQuantize(FakeQuantize):
    """For values whose range the maths gives. `observer` makes a FixedQParamsObserver."""

    def __init__(self, observer: ObserverFactory) -> None:
        super().__init__(observer)
        if not isinstance(self.activation_post_process, FixedQParamsObserver):
            kind = type(self.activation_post_process).__name__
            raise ConfigError(f"FixedQParamsFakeQuantize takes a FixedQParamsObserver, not a {kind}")


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


def enable_fake_quant(mod: nn.Module) -> None:
    """For `model.apply`: fake-quantizes begin to fake-quantize."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_fake_quant()


def disable_fake_quant(mod: nn.Module) -> None:
    """For `model.apply`: fake-quantizes hand on what they get."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_fake_quant()


def enable_observer(mod: nn.Module) -> None:
    """For `model.apply`: fake-quantizes follow the data."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_observer()


def disable_observer(mod: nn.Module) -> None:
    """For `model.apply`: the qparams of fake-quantizes stay what they are."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_observer()


_ACTIVATION = {"dtype": torch.uint8, "quant_min": 0, "quant_max": 255}
_WEIGHT = {"dtype": torch.int8, "quant_min": -127, "quant_max": 127}
_PER_TENSOR = {"observer": MovingAverageMinMaxObserver, "qscheme": QScheme.PER_TENSOR_SYMMETRIC, **_WEIGHT}
_PER_CHANNEL = {"observer": MovingAveragePerChannelMinMaxObserver, "qscheme": QScheme.PER_CHANNEL_SYMMETRIC, **_WEIGHT}

default_fake_quant = FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, **_ACTIVATION)
default_dynamic_fake_quant = default_fake_quant.with_args(averaging_constant=1, is_dynamic=True)
default_histogram_fake_quant = FakeQuantize.with_args(observer=HistogramObserver, **_ACTIVATION)
default_weight_fake_quant = FakeQuantize.with_args(**_PER_TENSOR)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(**_PER_CHANNEL)
default_embedding_fake_quant = FakeQuantize.with_args(observer=default_float_qparams_observer)
default_embedding_fake_quant_4bit = FakeQuantize.with_args(observer=default_float_qparams_observer_4bit)

default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_0to1_observer
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)
default_affine_fixed_qparams_fake_quant = default_fixed_qparams_range_0to1_fake_quant
default_symmetric_fixed_qparams_fake_quant = default_fixed_qparams_range_neg1to1_fake_quant

default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_ACTIVATION)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_PER_TENSOR)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_PER_CHANNEL)
fused_wt_fake_quant_range_neg_127_to_127 = default_fused_wt_fake_quant.with_args(eps=2**-12)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = default_fused_per_channel_wt_fake_quant.with_args(eps=2**-12)
