"""Values follow torch's views of the same memory, number by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fxquant.runtime.memory import ARENA, Buffer
from fxquant.runtime.value import Halo, Value

VIEWS: dict[str, Callable[[Tensor], Any]] = {
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "slice": lambda x: x[:, 1:, ::2, -3:],
    "item": lambda x: x[1, ..., 2],
    "unsqueeze": lambda x: x.unsqueeze(1),
    "flatten": lambda x: x.flatten(2),
    "expand": lambda x: x[:, :1].expand(x.shape),
    "chunk": lambda x: x.chunk(2, 1),
    "split": lambda x: x.split([1, 3], 3),
}


def value_of(x: Tensor, offset: int = 0) -> Value:
    meta = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
    value = Value.like(meta, Buffer(10_000))
    return Value(value.buffer, offset, value.shape, value.strides, value.dtype)


def elements(value: Value, memory: Tensor) -> Tensor:
    """What `value` means in `memory`, the whole of its buffer."""
    return memory.as_strided(value.shape, value.strides, value.offset // value.dtype.itemsize)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", VIEWS)
def test_views_are_torchs(name: str, dtype: torch.dtype) -> None:
    memory = torch.arange(200).to(dtype)
    offset = 8
    x = memory[offset:].as_strided((2, 4, 5, 4), (80, 1, 16, 4))
    value = value_of(x, offset * dtype.itemsize)
    expected, views = VIEWS[name](x), value.viewed(VIEWS[name])
    if name == "flatten":
        assert torch.equal(elements(views, memory), expected)
        return
    for view, each in zip(views, expected, strict=True) if isinstance(views, list) else [(views, expected)]:
        assert view.buffer is value.buffer
        assert torch.equal(elements(view, memory), each)


def test_what_needs_a_copy_is_no_view() -> None:
    value = value_of(torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
    assert value.viewed(lambda x: x.flatten(1)) is None
    assert value.viewed(lambda x: x.contiguous()) is None
    assert value.viewed(lambda x: x * 2) is None


@given(st.integers(0, 3), st.data())
def test_narrow_is_torchs(dim: int, data: st.DataObject) -> None:
    memory = torch.arange(400, dtype=torch.uint8)
    x = memory[7:].as_strided((2, 3, 4, 5), (60, 1, 15, 3))
    start = data.draw(st.integers(0, x.shape[dim]))
    length = data.draw(st.integers(0, x.shape[dim] - start))
    narrowed = value_of(x, 7).narrow(dim, start, length)
    assert torch.equal(elements(narrowed, memory), x.narrow(dim, start, length))


def test_images_are_channels_last_or_of_one_channel() -> None:
    images = torch.empty(2, 3, 4, 5)
    assert not value_of(images).is_images
    assert value_of(images[:, :1]).is_images
    assert value_of(images.contiguous(memory_format=torch.channels_last)).is_images
    assert value_of(images.contiguous(memory_format=torch.channels_last)[:, 1:]).is_images
    assert not value_of(torch.empty(2, 3, 4)).is_images


def test_a_halo_stays_with_the_whole_image() -> None:
    value = value_of(torch.empty(2, 3, 4, 5))
    padded = Value(value.buffer, 0, value.shape, value.strides, halo=Halo(1, 2))
    same = padded.viewed(lambda x: x.expand(2, 3, 4, 5))
    assert same == padded
    assert padded.viewed(lambda x: x[:, :, 1:]).halo == Halo()
    assert padded.narrow(2, 0, 3).halo == Halo()


def test_a_halo_covers_what_is_no_larger() -> None:
    assert Halo(1, 2).covers(Halo(1, 2))
    assert Halo(1, 2).covers(Halo())
    assert not Halo(1, 2).covers(Halo(2, 0))
    assert not Halo(1, 2).covers(Halo(0, 3))


def test_kernels_are_told_base_offset_shape_and_strides() -> None:
    buffer = Buffer(100, base=ARENA, offset=64)
    assert Value(buffer, 5, (2, 3), (9, 1)).native == (ARENA, 69, (2, 3), (9, 1))
