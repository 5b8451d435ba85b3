"""A tensor as the planner sees it: where it lies, not what it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fxquant.kernels.library import View
from fxquant.runtime.memory import Buffer


@dataclass(frozen=True)
class Halo:
    """Pixels around an image that hold its zero point: as many rows above and below, and columns left and right."""

    rows: int = 0
    columns: int = 0

    def covers(self, other: Halo) -> bool:
        """Whether it reaches as far as `other`."""
        return self.rows >= other.rows and self.columns >= other.columns


@dataclass(frozen=True)
class Value:
    """A strided tensor that begins `offset` bytes into `buffer`; shape and strides (in elements) in torch's order."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype = torch.uint8
    halo: Halo = Halo()

    @classmethod
    def like(cls, meta: Tensor, buffer: Buffer) -> Value:
        """The whole of `buffer`, laid out as `meta`."""
        return cls(buffer, 0, tuple(meta.shape), tuple(meta.stride()), meta.dtype)

    @property
    def native(self) -> View:
        """As kernels take it; valid once buffers are arranged."""
        return (self.buffer.base, self.buffer.offset + self.offset, self.shape, self.strides)

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def is_images(self) -> bool:
        """Whether it is laid out as kernels of images want it."""
        return are_images(self.shape, self.strides)

    def meta(self) -> Tensor:
        """A tensor without memory, of the same layout."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")

    def viewed(self, view: Callable[[Tensor], Any]) -> Any:
        """What `view` makes of it if that is a view of the same memory, or several; None if it would need a copy."""
        source = self.meta()
        result = view(source)
        if isinstance(result, (tuple, list)):
            views = [self._view(source, each) for each in result]
            return None if None in views else views
        return self._view(source, result)

    def _view(self, source: Tensor, result: Tensor) -> Value | None:
        if result.untyped_storage()._cdata != source.untyped_storage()._cdata:
            return None
        offset = self.offset + int(result.storage_offset()) * result.element_size()
        shape, strides = tuple(result.shape), tuple(result.stride())
        halo = self.halo if (shape, strides) == (self.shape, self.strides) else Halo()
        return replace(self, offset=offset, shape=shape, strides=strides, halo=halo)

    def as_bytes(self) -> Value:
        """The same memory in elements of one byte: of others, in a dimension more."""
        size = self.dtype.itemsize
        if size == 1:
            return self
        strides = (*(size * stride for stride in self.strides), 1)
        return replace(self, shape=(*self.shape, size), strides=strides, dtype=torch.uint8, halo=Halo())

    def moved_last(self, dim: int) -> Value:
        """With dimension `dim` behind all others."""
        view: Value = self.viewed(lambda t: t.movedim(dim, -1))
        return view

    def narrow(self, dim: int, start: int, length: int, step: int = 1) -> Value:
        """`length` positions along `dim`: start, start + step, start + 2 * step … `step` may be negative, or 0."""
        shape = (*self.shape[:dim], length, *self.shape[dim + 1 :])
        strides = (*self.strides[:dim], self.strides[dim] * step, *self.strides[dim + 1 :])
        offset = self.offset + start * self.strides[dim] * self.dtype.itemsize
        return replace(self, offset=offset, shape=shape, strides=strides, halo=Halo())


def are_images(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether this is the layout of [N, C, H, W] with the channels of a pixel side by side."""
    return len(shape) == 4 and (shape[1] == 1 or strides[1] == 1)


def like(tensors: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """A dense meta tensor, channels last if all `tensors` are."""
    last = all(are_images(x.shape, x.stride()) for x in tensors)
    memory_format = torch.channels_last if last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=tensors[0].dtype, device="meta", memory_format=memory_format)
