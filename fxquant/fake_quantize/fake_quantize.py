"""Fake-quantizes: a straight-through estimator behind an observer, and the two switches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fxquant import qparams
from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer import (
    FixedQParamsObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    ObserverBase,
    QScheme,
)
from fxquant.qparams import QParams, along_axis

ObserverFactory = Callable[..., Any]


class _StraightThrough(torch.autograd.Function):
    """Fake-quantization whose gradient passes where nothing saturated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, q: QParams) -> Tensor:
        scale, zero_point = along_axis(q.scale, x, q.axis), along_axis(q.zero_point, x, q.axis)
        is_real = isinstance(zero_point, Tensor) and zero_point.is_floating_point()
        integer = torch.round(x / scale + zero_point) if is_real else torch.round(x / scale) + zero_point
        ctx.save_for_backward((integer >= q.quant_min) & (integer <= q.quant_max))
        return qparams.dequantize(qparams.quantize(x, q), q).to(x.dtype)

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


def observer_within(made: Any) -> Any:
    """What finds the qparams of `made`: the observer of a fake-quantize that has one, or else `made` itself."""
    return getattr(made, "activation_post_process", made)


class FakeQuantize(FakeQuantizeBase):
    """Observes with an `observer`, made with `quant_min`, `quant_max` (if given) and `observer_kwargs`.

    `scale` (float32) and `zero_point` (int32), of shape [1] or [channels], hold the qparams that were used last.
    """

    scale: Tensor
    zero_point: Tensor

    @typed
    def __init__(
        self,
        observer: ObserverFactory = MovingAverageMinMaxObserver,
        quant_min: int | None = None,
        quant_max: int | None = None,
        is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        integers = {"quant_min": quant_min, "quant_max": quant_max, "is_dynamic": is_dynamic or None}
        given = {**observer_kwargs, **{key: value for key, value in integers.items() if value is not None}}
        try:
            made: Any = observer(**given)
        except TypeError as error:
            raise ConfigError(f"a FakeQuantize makes its observer with {given}, but {error}") from error
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
