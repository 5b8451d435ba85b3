"""Volumes [N, C, D, H, W] in programs whose kernels take images [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from fxquant.runtime.emitter import Emitter
from fxquant.runtime.phases import Phase
from fxquant.runtime.value import Halo, Value


def images(*volumes: Value | None) -> Iterator[tuple[Value | None, ...]]:
    """Volumes of as many examples and slices as images, one a slice: all at once where their strides allow it."""
    whole = [None if v is None else _as_images(v) for v in volumes]
    if not any(image is None and v is not None for image, v in zip(whole, volumes, strict=True)):
        yield tuple(whole)
        return
    assert volumes[0] is not None
    for i in range(volumes[0].shape[0]):
        yield tuple(None if v is None else _as_images(v.narrow(0, i, 1)) for v in volumes)


def _as_images(v: Value) -> Value | None:
    (n, c, d, h, w), (stride_n, stride_c, stride_d, *rest) = v.shape, v.strides
    if n > 1 and d > 1 and stride_n != d * stride_d:
        return None
    stride = stride_d if d > 1 else stride_n
    return replace(v, shape=(n * d, c, h, w), strides=(stride, stride_c, *rest), halo=Halo())


def bordered(emitter: Emitter, x: Value, borders: Sequence[int], code: int) -> Value:
    """A copy of the images `x` inside borders of `code`, above and below, left and right; the value is the inside."""
    (n, c, h, w), (rows, columns) = x.shape, borders
    size = (n, c, h + 2 * rows, w + 2 * columns)
    whole = emitter.new(torch.empty(size, dtype=torch.uint8, device="meta", memory_format=torch.channels_last))
    inside = whole.narrow(2, rows, h).narrow(3, columns, w)
    emitter.call("fill", (whole,), code)
    emitter.call("copy", (inside, x))
    return inside


def gathered(emitter: Emitter, x: Value, depth: Phase, groups: int, borders: Sequence[int], code: int) -> Value:
    """[N, groups * taps * C / groups, outputs, H, W]: what each output along the depth reads of `x`, as channels.

    Around each slice, and for slices that do not exist, there is `code`; the value is what the borders surround.
    """
    (n, c, d, h, w), (rows, columns) = x.shape, borders
    taps, outputs = max(len(depth.taps), 1), depth.outputs(d)
    size = (n * outputs, c * taps, h + 2 * rows, w + 2 * columns)
    whole = emitter.new(torch.empty(size, dtype=torch.uint8, device="meta", memory_format=torch.channels_last))
    emitter.call("fill", (whole,), code)
    inside = whole.narrow(2, rows, h).narrow(3, columns, w)
    apart: Value = inside.viewed(lambda t: t.unflatten(0, (n, outputs)).unflatten(2, (groups, taps, c // groups)))
    slices: Value = x.viewed(lambda t: t.transpose(1, 2).unflatten(2, (groups, c // groups)))
    for tap in range(taps):
        first, count = existing(depth, tap, d)
        if count > 0:
            start = first * depth.stride - depth.before + tap * depth.dilation
            to = apart.narrow(1, first, count).viewed(lambda t, tap=tap: t.select(3, tap))
            emitter.call("copy", (to, slices.narrow(1, start, count, depth.stride)))
    result: Value = inside.viewed(lambda t: t.unflatten(0, (n, outputs)).transpose(1, 2))
    return result


def existing(depth: Phase, tap: int, size: int) -> tuple[int, int]:
    """The outputs for which this tap reads a slice that exists, of `size`: the first one, and how many."""
    offset = depth.before - tap * depth.dilation  # output j reads j * stride - offset
    first = max(0, -(-offset // depth.stride))
    end = min(depth.outputs(size), (size - 1 + offset) // depth.stride + 1)
    return first, max(0, end - first)
