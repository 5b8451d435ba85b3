"""Which elements of a tensor share a scale, as blocks of its shape; and the base of observers that are told so.

get_block_size((8, 4), PerTensor()) == (8, 4)      get_block_size((8, 4), PerAxis(0)) == (1, 4)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import torch
from torch import Tensor

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import ObserverBase


@dataclass(frozen=True)
class Granularity:
    """Base of the ways to divide a tensor."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """All elements share one scale."""


@dataclass(frozen=True)
class PerAxis(Granularity):
    """A scale for each index along `axis`."""

    axis: int


@dataclass(frozen=True)
class PerGroup(Granularity):
    """A scale for every `group_size` neighbours along the last dimension."""

    group_size: int


@dataclass(frozen=True)
class PerBlock(Granularity):
    """A scale for each block of this shape."""

    block_size: tuple[int, ...]


@dataclass(frozen=True)
class PerRow(Granularity):
    """A scale for each row: all of the last dimension."""


@dataclass(frozen=True)
class PerToken(Granularity):
    """As PerRow, of activations whose last dimension holds what stands for one token."""


class MappingType(Enum):
    """Whether the zero point is free; if not, whether both ends of the range may be clipped to make it symmetric."""

    SYMMETRIC = auto()
    SYMMETRIC_NO_CLIPPING_ERR = auto()
    ASYMMETRIC = auto()


class ZeroPointDomain(Enum):
    """Whether zero points are integers (added before the scale) or floats (after it)."""

    INT = auto()
    FLOAT = auto()
    NONE = auto()


class TorchAODType(Enum):
    """Names of integers narrower than a byte."""

    INT1 = auto()
    INT2 = auto()
    INT3 = auto()
    INT4 = auto()
    INT5 = auto()
    INT6 = auto()
    INT7 = auto()


@typed
def get_block_size(input_shape: tuple[int, ...], granularity: Granularity) -> tuple[int, ...]:
    """The shape of the blocks of one scale. Raises ConfigError where a tensor of this shape cannot be so divided."""
    shape = tuple(input_shape)
    if isinstance(granularity, PerTensor):
        return shape
    if isinstance(granularity, PerBlock):
        return granularity.block_size
    if isinstance(granularity, PerAxis):
        if not -len(shape) <= granularity.axis < len(shape):
            raise ConfigError(f"{granularity} of a tensor with {len(shape)} dimensions")
        axis = granularity.axis % len(shape)
        return (*shape[:axis], 1, *shape[axis + 1 :])
    if isinstance(granularity, (PerRow, PerToken)):
        return (*[1] * (len(shape) - 1), shape[-1])
    if isinstance(granularity, PerGroup):
        if granularity.group_size < 1 or shape[-1] % granularity.group_size:
            raise ConfigError(f"{granularity} does not divide the last dimension, of {shape[-1]}")
        return (*[1] * (len(shape) - 1), granularity.group_size)
    raise ConfigError(f"{granularity!r} is no Granularity")


class AffineQuantizedObserverBase(ObserverBase):
    """Base of observers of users' own whose granularity is theirs to apply. The arguments become attributes."""

    def __init__(
        self,
        mapping_type: MappingType,
        target_dtype: torch.dtype,
        granularity: Granularity,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float | None = None,
        scale_dtype: torch.dtype | None = None,
        zero_point_dtype: torch.dtype | None = None,
        preserve_zero: bool = True,
        zero_point_domain: ZeroPointDomain | None = ZeroPointDomain.INT,
    ) -> None:
        super().__init__(target_dtype)
        if zero_point_domain is None:
            raise ConfigError("give a ZeroPointDomain; ZeroPointDomain.NONE says that there is no zero point")
        self.mapping_type = mapping_type
        self.target_dtype = target_dtype
        self.granularity = granularity
        self.quant_min, self.quant_max = quant_min, quant_max
        self.eps = eps
        self.scale_dtype, self.zero_point_dtype = scale_dtype, zero_point_dtype
        self.preserve_zero = preserve_zero
        self.zero_point_domain = zero_point_domain

    @property
    def block_size(self) -> tuple[int, ...] | None:
        """The shape of the blocks of one scale, of the last tensor seen; None before."""
        return getattr(self, "_block_size", None)

    def divide(self, x: Tensor) -> tuple[int, ...]:
        """The shape of the blocks of `x`, kept as `block_size`."""
        self._block_size = get_block_size(tuple(x.shape), self.granularity)
        return self._block_size
