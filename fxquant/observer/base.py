"""What all observers are: modules that hand their input on unchanged and learn qparams from it.

    observer(x) is x          and the statistics of x are merged into the observer's buffers
    observer.qparams()        what those statistics ask for

QConfigs hold factories of observers, not observers: a class, or what its `with_args` returns.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fxquant.arguments import typed
from fxquant.errors import CalibrationError, ConfigError
from fxquant.observer.headroom import room_for
from fxquant.observer.scheme import (
    QScheme,
    choose_float_qparams,
    choose_qparams,
    integer_dtype,
    integer_range,
    plain_dtype,
)
from fxquant.qparams import QParams

FLOAT32_EPS: float = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Partial:
    """A factory with some arguments already given. Picklable and comparable.

    `callable_args` are called anew for each module made. What the call itself is given wins over both.
    """

    factory: Callable[..., nn.Module]
    args: tuple[tuple[str, Any], ...] = ()
    callable_args: tuple[tuple[str, Callable[[], Any]], ...] = ()

    def __call__(self, **kwargs: Any) -> nn.Module:
        made = {name: make() for name, make in self.callable_args if name not in kwargs}
        return self.factory(**{**dict(self.args), **made, **kwargs})

    def with_args(self, **kwargs: Any) -> Partial:
        """The same factory with more, or other, arguments given. ConfigError for a name it does not take."""
        self._check_names(kwargs)
        return Partial(self.factory, _sorted_items({**dict(self.args), **kwargs}), self.callable_args)

    def with_callable_args(self, **kwargs: Callable[[], Any]) -> Partial:
        """As `with_args`, but each argument is a function that is called for each module made."""
        self._check_names(kwargs)
        return Partial(self.factory, self.args, _sorted_items({**dict(self.callable_args), **kwargs}))

    def _check_names(self, kwargs: dict[str, Any]) -> None:
        try:
            inspect.signature(self.factory).bind_partial(**kwargs)
        except TypeError as error:
            raise ConfigError(f"{_name(self.factory)}: {error}") from error

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.args]
        given += [f"{name}={_name(make)}()" for name, make in self.callable_args]
        return f"{_name(self.factory)}({', '.join(given)})"


def _sorted_items(items: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(items.items()))


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__name__", repr(factory))


class ObserverBase(nn.Module, ABC):
    """Base of all observers. `where` names the observed place in the user's model, for messages."""

    where: str = ""
    # Whether the statistics are those of several processes already.
    is_merged: bool = False

    def __init__(self, dtype: torch.dtype, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype = plain_dtype(dtype)
        self.is_dynamic = is_dynamic

    @property
    def place(self) -> str:
        """This observer, for messages."""
        return f"the observer at {self.where}" if self.where else f"a {type(self).__name__}"

    @property
    @abstractmethod
    def observed(self) -> bool:
        """Whether `qparams` rests on something: data that was seen, or what the observer was made with."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`."""

    @abstractmethod
    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """scale (float32) and zero_point (int32), of shape [1], or [channels] if per channel."""

    @abstractmethod
    def qparams(self) -> QParams:
        """What `calculate_qparams` says, with the integers to use."""

    def merge_processes(self) -> None:
        """Takes over the statistics of all processes that calibrate together, by all-reduce; every one calls it."""

    def reset_min_max_vals(self) -> None:
        """Forgets everything seen."""

    @classmethod
    def with_args(cls, **kwargs: Any) -> Partial:
        """A factory of this class with these arguments given. ConfigError for a name that it does not take."""
        return Partial(cls).with_args(**kwargs)

    @classmethod
    def with_callable_args(cls, **kwargs: Callable[[], Any]) -> Partial:
        """A factory of this class with arguments that are computed for each observer made."""
        return Partial(cls).with_callable_args(**kwargs)


class UniformQuantizationObserverBase(ObserverBase):
    """Base of the observers that find a range in data.

    Args:
        dtype: what to quantize to: torch.uint8, torch.int8 or a wider integer (torch's quantized dtypes, while it has
            them, are taken as names for these).
        qscheme: a QScheme, its name, or torch's per_tensor_affine and the like.
        reduce_range: use half of the integers only.
        quant_min, quant_max: the integers to use; all of `dtype` by default.
        factory_kwargs: device and dtype of the statistics.
        eps: the smallest scale.
        is_dynamic: whether the qparams are to be found anew for each input at run time.
        headroom: widen the range by what data to come will lie beyond it, after as few values as were seen.

    Raises ConfigError where these do not fit together.
    """

    ch_axis: int | None = None
    per_channel: ClassVar[bool] = False
    headroom: bool = False
    min_val: Tensor
    max_val: Tensor

    @typed
    def __init__(
        self,
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
        super().__init__(integer_dtype(dtype), is_dynamic)
        self.headroom = headroom
        self.qscheme = QScheme.of(qscheme)
        if self.qscheme.per_channel != self.per_channel:
            raise ConfigError(f"{type(self).__name__} cannot have the qscheme {self.qscheme.value}")
        self.reduce_range = reduce_range
        self.quant_min, self.quant_max = integer_range(self.dtype, quant_min, quant_max, reduce_range)
        self.eps = float(eps)
        if not 0 <= self.eps < math.inf:
            raise ConfigError(f"eps, the smallest scale, must be finite and not negative, got {eps}")
        self.register_buffer("min_val", torch.tensor(float("inf"), **(factory_kwargs or {})))
        self.register_buffer("max_val", torch.tensor(float("-inf"), **(factory_kwargs or {})))
        if headroom:
            self._count_values()

    def _count_values(self) -> None:
        """Makes the statistics that `values_seen` wants beyond those that are there anyway."""

    @property
    def observed(self) -> bool:
        return bool(self.min_val.numel()) and bool((self.min_val <= self.max_val).all())

    def learned_range(self) -> tuple[Tensor, Tensor]:
        """The real numbers, low and high, that the qparams should cover."""
        return self.min_val, self.max_val

    @property
    def values_seen(self) -> int:
        """How many values the range is of. Known if there is to be headroom."""
        raise NotImplementedError

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """scale (float32) and zero_point (int32; float32 of float qparams), of shape [1], or [channels] if per channel.

        1 and 0 if nothing was observed.
        """
        if not self.observed:
            device = self.min_val.device
            return torch.ones(1, device=device), torch.zeros(1, dtype=torch.int32, device=device)
        low, high = (bound.float().reshape(-1) for bound in self.learned_range())
        if self.headroom:
            room = room_for(self.values_seen)
            low, high = low * room, high * room
        if self.qscheme.float_qparams:
            return choose_float_qparams(low, high, quant_min=self.quant_min, quant_max=self.quant_max, eps=self.eps)
        return choose_qparams(
            low,
            high,
            quant_min=self.quant_min,
            quant_max=self.quant_max,
            dtype=self.dtype,
            symmetric=self.qscheme.symmetric,
            eps=self.eps,
        )

    def qparams(self) -> QParams:
        return usual_qparams(self)

    def reset_min_max_vals(self) -> None:
        """Forgets everything seen."""
        self.min_val.fill_(float("inf"))
        self.max_val.fill_(float("-inf"))

    def extra_repr(self) -> str:
        integers = f"{self.quant_min}..{self.quant_max} of {self.dtype}, {self.qscheme.value}"
        if not self.observed:
            return f"{integers}, nothing observed"
        return f"{integers}, {float(self.min_val.min()):.6g} to {float(self.max_val.max()):.6g}"


def usual_qparams(observer: Any) -> QParams:
    """What `observer.calculate_qparams` says, with its integers: per tensor, or along its `ch_axis`."""
    scale, zero_point = observer.calculate_qparams()
    integers = observer.quant_min, observer.quant_max, observer.dtype
    axis: int | None = getattr(observer, "ch_axis", None)
    if axis is None:
        return QParams(float(scale), int(zero_point), *integers)
    return QParams(scale, zero_point, *integers, axis)


def is_real(x: Tensor, place: str) -> bool:
    """Whether `x` holds floating point numbers. CalibrationError naming `place` for what is no dense tensor."""
    if not isinstance(x, Tensor) or x.layout is not torch.strided:
        what = f"a tensor of layout {x.layout}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise CalibrationError(f"{place} got {what}; it observes dense tensors")
    return x.is_floating_point()


def value_range(x: Tensor, axis: int | None, place: str) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of the float32 tensor `x`: scalars, or one pair for each index along `axis`.

    Raises CalibrationError naming `place` if `x` has no elements, is on the meta device, or holds NaN, infinity or
    values whose range would overflow: these show in the two results, so that no pass over the elements of its own is
    needed.
    """
    if x.numel() == 0:
        raise CalibrationError(f"{place} got a tensor without elements, of shape {list(x.shape)}")
    if x.is_meta:
        raise CalibrationError(f"{place} got a tensor on the meta device, which holds no values; load them first")
    if axis is not None and (x.dim() == 0 or (x.dim() > 1 and not -x.dim() <= axis < x.dim())):
        raise CalibrationError(f"{place} got a tensor of shape {list(x.shape)}, which has no axis {axis} of channels")
    if axis is None:
        low, high = torch.aminmax(x)
    else:
        rows = x.transpose(0, axis).flatten(1) if x.dim() > 1 else x[:, None]
        low, high = rows.amin(1), rows.amax(1)
    if not bool(torch.isfinite(4 * (low.abs() + high.abs())).all()):
        raise CalibrationError(
            f"{place} got NaN, infinity or values too large for float32 "
            f"(least {float(low.min())}, greatest {float(high.max())}); "
            "check the calibration data, and the model up to there"
        )
    return low, high
