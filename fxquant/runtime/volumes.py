"""Volumes [N, C, D, H, W] in programs whose kernels take images [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fxquant.runtime.emitter import Emitter
from fxquant.runtime.phases import Phase
from fxquant.runtime.value import Halo, Value


def new(emitter: Emitter, shape: Sequence[int]) -> Value:
    """Memory for volumes, the channels of a pixel side by side."""
    return emitter.new(like(shape))


def like(shape: Sequence[int]) -> Tensor:
    """Volumes as a meta tensor."""
    return torch.empty(shape, dtype=torch.uint8, device="meta", memory_format=torch.channels_last_3d)


def images_like(shape: Sequence[int]) -> Tensor:
    """Images as a meta tensor."""
    return torch.empty(shape, dtype=torch.uint8, device="meta", memory_format=torch.channels_last)


def channels_last(emitter: Emitter, x: Value) -> Value:
    """Volumes with the channels of a pixel side by side: `x` itself, or a copy."""
    return x if x.strides[1] == 1 or x.shape[1] == 1 else emitter.copied(x, torch.channels_last_3d)


def slice_of(x: Value, i: int) -> Value:
    """One slice of each volume, as images."""
    result: Value = x.viewed(lambda t: t.select(2, i))
    return result


def by_slice(x: Value) -> Value:
    """Dense volumes as images [N, C, D, H * W]."""
    result: Value = x.viewed(lambda t: t.flatten(3, 4))
    return result


def stacked(emitter: Emitter, x: Value) -> Value:
    """Volumes as images [N, C, D * H, W]: a view, or one of a copy."""
    (_, _, d, h, _), (_, _, stride_d, stride_h, _) = x.shape, x.strides
    if d > 1 and h > 1 and stride_d != h * stride_h:
        x = emitter.copied(x, torch.channels_last_3d)
    stride = x.strides[3] if h > 1 else x.strides[2]
    shape, strides = (*x.shape[:2], d * h, x.shape[4]), (*x.strides[:2], stride, x.strides[4])
    return replace(x, shape=shape, strides=strides, halo=Halo())


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
    whole = emitter.new(images_like(size))
    inside = whole.narrow(2, rows, h).narrow(3, columns, w)
    emitter.call("fill", (whole,), code)
    emitter.call("copy", (inside, x))
    return inside


def gathered(emitter: Emitter, x: Value, depth: Phase, groups: int, borders: Sequence[int], code: int | None) -> Value:
    """[N, groups * taps * C / groups, outputs, H, W]: what each output along the depth reads of `x`, as channels.

    Around each slice, and for slices that do not exist, there is `code` (None: `x` has all that is read); the value is
    what the borders surround.
    """
    (n, c, d, h, w), (rows, columns) = x.shape, borders
    taps, outputs = max(len(depth.taps), 1), depth.outputs(d)
    size = (n * outputs, c * taps, h + 2 * rows, w + 2 * columns)
    whole = emitter.new(images_like(size))
    if code is not None:
        emitter.call("fill", (whole,), code)
    inside = whole.narrow(2, rows, h).narrow(3, columns, w)
    apart: Value = inside.viewed(lambda t: t.unflatten(0, (n, outputs)).unflatten(2, (groups, taps, c // groups)))
    slices: Value = x.viewed(lambda t: t.transpose(1, 2).unflatten(2, (groups, c // groups)))
    for tap, first, count, start in reads(depth, d):
        to = apart.narrow(1, first, count).narrow(3, tap, 1).viewed(lambda t: t.squeeze(3))
        emitter.call("copy", (to, slices.narrow(1, start, count, depth.stride)))
    # A view of the inside alone would not know how far the rows of a border are, where it has only one of its own.
    by_example: Value = whole.viewed(lambda t: t.unflatten(0, (n, outputs)).transpose(1, 2))
    return by_example.narrow(3, rows, h).narrow(4, columns, w)


def in_turn(emitter: Emitter, x: Value, depth: Phase, borders: Sequence[int], code: int | None) -> Value:
    """[N, C, outputs, H * taps, W]: what each output along the depth reads of `x`, row i of tap t as row i * taps + t.

    Around each slice, and for slices that do not exist, there is `code` (None: `x` has all that is read); the value is
    what the borders surround.
    """
    (n, c, d, h, w), (rows, columns) = x.shape, borders
    taps, outputs = len(depth.taps), depth.outputs(d)
    whole = emitter.new(images_like((n * outputs, c, (h + 2 * rows) * taps, w + 2 * columns)))
    if code is not None:
        emitter.call("fill", (whole,), code)
    by_example: Value = whole.viewed(lambda t: t.unflatten(0, (n, outputs)).transpose(1, 2))
    inside = by_example.narrow(3, rows * taps, h * taps).narrow(4, columns, w)
    apart: Value = inside.viewed(lambda t: t.unflatten(3, (h, taps)))
    for tap, first, count, start in reads(depth, d):
        to = apart.narrow(2, first, count).narrow(4, tap, 1).viewed(lambda t: t.squeeze(4))
        emitter.call("copy", (to, x.narrow(2, start, count, depth.stride)))
    return inside


def reads(depth: Phase, size: int) -> Iterator[tuple[int, int, int, int]]:
    """For each tap that reads any of `size` slices: the tap, its first output, how many, and the slice of the first."""
    for tap in range(max(len(depth.taps), 1)):
        first, count = existing(depth, tap, size)
        if count > 0:
            yield tap, first, count, first * depth.stride - depth.before + tap * depth.dilation


def existing(depth: Phase, tap: int, size: int) -> tuple[int, int]:
    """The outputs for which this tap reads a slice that exists, of `size`: the first one, and how many."""
    offset = depth.before - tap * depth.dilation  # output j reads j * stride - offset
    first = max(0, -(-offset // depth.stride))
    end = min(depth.outputs(size), (size - 1 + offset) // depth.stride + 1)
    return first, max(0, end - first)
