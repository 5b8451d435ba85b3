"""What layers emit their kernel calls to: the calls of a program so far, and the memory that these work on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fxquant.kernels.library import ABSOLUTE
from fxquant.runtime.call import Call, Window
from fxquant.runtime.memory import Buffer
from fxquant.runtime.value import Value


class Emitter:
    """Collects calls on behalf of `node`, the node that is being planned, which at most `threads` threads run."""

    def __init__(self, node: Node, threads: int) -> None:
        self.node, self.threads = node, threads
        self.calls: list[Call] = []
        self.buffers: list[Buffer] = []
        self.constants: list[Tensor] = []
        self._derived: dict[tuple[Any, ...], Value] = {}

    def call(
        self, kernel: str, operands: Iterable[Value | None], *constants: Any, window: Window | None = None, **more: Any
    ) -> None:
        """Appends a kernel call, its fields as of Call."""
        call = Call(self.node, kernel, tuple(operands), constants, window, **more)
        self._derived = {key: value for key, value in self._derived.items() if key[1].buffer is not call.y.buffer}
        self.calls.append(call)

    def derived(self, kernel: str, x: Value, size: int, *constants: Any) -> Value:
        """The `size` bytes that a kernel makes of `x`: for all that want them once, until `x` is overwritten."""
        key = (kernel, x, size, *constants)
        if key not in self._derived:
            made = self.new(torch.empty(size, dtype=torch.uint8, device="meta"))
            self.call(kernel, (made, x), *constants)
            self._derived[key] = made
        return self._derived[key]

    def new(self, meta: Tensor) -> Value:
        """Memory of its own, laid out as `meta`."""
        return Value.like(meta, self._buffer(_extent(meta) * meta.dtype.itemsize))

    def scratch(self, size: int) -> Value | None:
        """`size` bytes for the next call alone."""
        if size == 0:
            return None
        return Value(self._buffer(size), 0, (size,), (1,))

    def thread_scratch(self, size: int) -> Value | None:
        """`size` bytes for each thread, for the next call alone."""
        return self.scratch(size * self.threads)

    def constant(self, tensor: Tensor) -> int:
        """The address of `tensor`, which the plan keeps alive."""
        self.constants.append(tensor)
        return tensor.data_ptr()

    def number(self, value: float, dtype: torch.dtype) -> Value:
        """One constant, without dimensions."""
        return self.tensor(torch.tensor(value, dtype=dtype))

    def tensor(self, tensor: Tensor) -> Value:
        """A constant where it lies."""
        return Value.like(tensor, Buffer(0, ABSOLUTE, self.constant(tensor)))

    def images(self, x: Value) -> Value:
        """`x` [N, C, H, W] with the channels of a pixel side by side: itself, or a copy."""
        return x if x.is_images else self.copied(x, torch.channels_last)

    def channels_last(self, x: Value) -> Value:
        """`x` [N, C, ...] with neighbouring channels side by side: itself, or a copy."""
        if x.strides[1] == 1 or x.shape[1] <= 1:
            return x
        n, c, *positions = x.shape
        copy = self.new(torch.empty((n, *positions, c), dtype=x.dtype, device="meta").movedim(-1, 1))
        self.copy(copy, x)
        return copy

    def dense_rows(self, x: Value) -> Value:
        """`x` with the elements of its last dimension side by side: itself, or a copy."""
        return x if x.strides[-1] == 1 or x.shape[-1] <= 1 else self.copied(x, torch.contiguous_format)

    def rows(self, x: Value, dims: int = 1) -> Value:
        """`x` as [rows, K], K of its last `dims` dimensions, the elements of a row side by side: a view, or a copy."""
        flat = x.viewed(lambda t: _as_rows(t, dims))
        if flat is None or (flat.strides[1] != 1 and flat.shape[1] > 1):
            flat = self.copied(x, torch.contiguous_format).viewed(lambda t: _as_rows(t, dims))
        assert isinstance(flat, Value)
        return flat

    def copy(self, y: Value, x: Value) -> None:
        """Writes the elements of `x`, of any dtype, to `y`."""
        self.call("copy", (y.as_bytes(), x.as_bytes()))

    def copied(self, x: Value, memory_format: torch.memory_format) -> Value:
        """A dense copy of `x`."""
        dense = torch.empty(x.shape, dtype=x.dtype, device="meta", memory_format=memory_format)
        copy = self.new(dense)
        self.copy(copy, x)
        return copy

    def _buffer(self, size: int) -> Buffer:
        buffer = Buffer(size)
        self.buffers.append(buffer)
        return buffer


def _extent(meta: Tensor) -> int:
    """Elements from the first to the last one."""
    return 1 + sum((size - 1) * stride for size, stride in zip(meta.shape, meta.stride(), strict=True))


def _as_rows(x: Tensor, dims: int) -> Tensor:
    last = x.dim() - dims
    return x.reshape(x.shape[:last].numel(), x.shape[last:].numel())
