"""From an observed range to qparams.

    low, high   = min(low, 0), max(high, 0)                      so that 0.0 is exactly an integer
    affine      scale = (high - low) / (quant_max - quant_min)
                zero_point = clamp(quant_min - round(low / scale), quant_min, quant_max)
    symmetric   scale = max(-low, high) / ((quant_max - quant_min) / 2)
                zero_point = 0 for a signed dtype, else the middle of the integer range
    float_qparams   as affine, of the range as observed, with zero_point = -low / scale, a float: 0.0 is no integer

in float32, with `scale` never below `eps`: an all-zero tensor gets a valid scale.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor

from fxquant.errors import ConfigError

_PLAIN_DTYPES = {
    "torch.quint8": torch.uint8,
    "torch.qint8": torch.int8,
    "torch.qint32": torch.int32,
    "torch.quint4x2": torch.uint8,
}
_INTEGER_DTYPES = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32)


class QScheme(Enum):
    """How many scales a tensor has, and whether its zero_point is free."""

    PER_TENSOR_AFFINE = "per_tensor_affine"
    PER_TENSOR_SYMMETRIC = "per_tensor_symmetric"
    PER_CHANNEL_AFFINE = "per_channel_affine"
    PER_CHANNEL_SYMMETRIC = "per_channel_symmetric"
    PER_CHANNEL_AFFINE_FLOAT_QPARAMS = "per_channel_affine_float_qparams"

    @classmethod
    def of(cls, value: Any) -> QScheme:
        """A QScheme from itself, from its name, or from torch's `torch.per_tensor_affine` and the like.

        Raises ConfigError for anything else.
        """
        if isinstance(value, cls):
            return value
        name = str(value).removeprefix("torch.")
        if name not in cls._value2member_map_:
            raise ConfigError(f"unknown qscheme {value!r}; known: {', '.join(scheme.value for scheme in cls)}")
        return cls(name)

    @property
    def symmetric(self) -> bool:
        return self in (QScheme.PER_TENSOR_SYMMETRIC, QScheme.PER_CHANNEL_SYMMETRIC)

    @property
    def per_channel(self) -> bool:
        return self.value.startswith("per_channel")

    @property
    def float_qparams(self) -> bool:
        return self is QScheme.PER_CHANNEL_AFFINE_FLOAT_QPARAMS


def plain_dtype(dtype: Any) -> torch.dtype:
    """The plain dtype that stores what `dtype` (perhaps torch.quint8 and the like) holds; others as they are."""
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"dtype must be a torch.dtype, got {dtype!r}")
    return _PLAIN_DTYPES.get(str(dtype), dtype)


def integer_dtype(dtype: Any) -> torch.dtype:
    """As `plain_dtype`; raises ConfigError unless the result is an integer dtype that can be quantized to."""
    plain = plain_dtype(dtype)
    if plain not in _INTEGER_DTYPES:
        raise ConfigError(f"cannot quantize to {dtype}; known: {', '.join(map(str, _INTEGER_DTYPES))}")
    return plain


def integer_range(
    dtype: torch.dtype, quant_min: int | None, quant_max: int | None, reduce_range: bool
) -> tuple[int, int]:
    """The integers to use: those given, else all of `dtype`; `reduce_range` halves either.

    Raises ConfigError if only one bound is given, or if they do not enclose 0 within `dtype`.
    """
    info = torch.iinfo(dtype)
    if (quant_min is None) != (quant_max is None):
        raise ConfigError(f"give both quant_min and quant_max, or neither (got {quant_min} and {quant_max})")
    low, high = (info.min, info.max) if quant_min is None or quant_max is None else (quant_min, quant_max)
    if not (info.min <= low <= 0 <= high <= info.max and low < high):
        raise ConfigError(f"quant_min..quant_max = {low}..{high} must enclose 0 within {dtype}: {info.min}..{info.max}")
    return (low // 2, high // 2) if reduce_range else (low, high)


def choose_qparams(
    low: Tensor,
    high: Tensor,
    *,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    symmetric: bool,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """scale (float32) and zero_point (int32) for ranges `low`..`high` (float32), of their shape. See the module."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    if symmetric:
        scale = (torch.maximum(-low, high) / ((quant_max - quant_min) / 2)).clamp(min=eps)
        middle = 0 if dtype.is_signed else (quant_min + quant_max + 1) // 2
        return scale, torch.full_like(scale, middle, dtype=torch.int32)
    scale = ((high - low) / (quant_max - quant_min)).clamp(min=eps)
    zero_point = quant_min - torch.round(low / scale).to(torch.int32)
    return scale, zero_point.clamp(quant_min, quant_max)


def choose_float_qparams(
    low: Tensor, high: Tensor, *, quant_min: int, quant_max: int, eps: float
) -> tuple[Tensor, Tensor]:
    """scale and zero_point (both float32) for ranges `low`..`high` (float32), of their shape. See the module."""
    scale = (high - low) / (quant_max - quant_min)
    scale = torch.where(scale > eps, scale, torch.ones_like(scale))
    return scale, -low / scale
