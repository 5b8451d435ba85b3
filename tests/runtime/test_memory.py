"""The arena: what is alive at once lies apart, and little is wasted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from regions import plan_of, quantized
from torch import nn

from fxquant.demo.networks import EfficientNetLite0, MobileNetV2
from fxquant.demo.resnet import resnet18, resnet50
from fxquant.runtime.memory import ALIGNMENT, ARENA, Buffer, arrange, lower_bound

SIZES = st.integers(0, 5000)


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    """Buffers of any sizes and lives; some are never used, some lie outside of the arena."""
    found = []
    for _ in range(draw(st.integers(0, 25))):
        buffer = Buffer(draw(SIZES), base=draw(st.sampled_from([ARENA, ARENA, ARENA, 1])))
        for step in sorted(draw(st.lists(st.integers(0, 30), max_size=3))):
            buffer.use(step)
        found.append(buffer)
    return found


def chain(sizes: list[int]) -> list[Buffer]:
    """The results of layers each of which reads the one before."""
    return [Buffer(size, first=step, last=step + 1) for step, size in enumerate(sizes)]


def lives(found: list[Buffer]) -> list[Buffer]:
    return [b for b in found if b.base == ARENA and b.first is not None]


@given(buffers())
def test_what_is_alive_at_once_lies_apart(found: list[Buffer]) -> None:
    arena = arrange(found)
    placed = lives(found)
    for i, one in enumerate(placed):
        assert one.offset % ALIGNMENT == 0
        assert one.offset + one.size <= arena
        for other in placed[:i]:
            if one.meets(other):
                assert one.offset + one.size <= other.offset or other.offset + other.size <= one.offset


@given(buffers())
def test_no_arena_is_below_the_bound(found: list[Buffer]) -> None:
    assert arrange(found) >= lower_bound(found)


@given(buffers())
def test_the_bound_is_the_fullest_step(found: list[Buffer]) -> None:
    def aligned(size: int) -> int:
        return -(-size // ALIGNMENT) * ALIGNMENT

    alive = [[b for b in lives(found) if b.first <= step <= b.last] for step in range(31)]  # type: ignore[operator]
    assert lower_bound(found) == max(sum(aligned(b.size) for b in step) for step in alive)


@given(buffers())
def test_others_are_left_alone(found: list[Buffer]) -> None:
    others = [b for b in found if b not in lives(found)]
    arrange(found)
    assert [b.offset for b in others] == [0] * len(others)


@given(st.sets(st.integers(1, 80), max_size=12), st.booleans())
def test_a_chain_that_grows_or_shrinks_needs_no_more_than_its_bound(lines: set[int], shrinks: bool) -> None:
    found = chain([ALIGNMENT * size for size in sorted(lines, reverse=shrinks)])
    assert arrange(found) == lower_bound(found)


@given(st.lists(SIZES, max_size=12))
def test_what_never_meets_shares_its_bytes(sizes: list[int]) -> None:
    found = [Buffer(size, first=step, last=step) for step, size in enumerate(sizes)]
    assert arrange(found) == lower_bound(found)


def test_lives_grow_with_use() -> None:
    buffer, other = Buffer(1), Buffer(1)
    assert not buffer.meets(other)
    buffer.use(3)
    assert (buffer.first, buffer.last) == (3, 3)
    other.use(4)
    assert not buffer.meets(other)
    buffer.use(4)
    assert (buffer.first, buffer.last) == (3, 4)
    assert buffer.meets(other)
    assert other.meets(buffer)


@pytest.mark.slow
@pytest.mark.parametrize("network", [resnet18, resnet50, MobileNetV2, EfficientNetLite0])
def test_networks_waste_little(network: type[nn.Module], threads: int) -> None:
    model = quantized(network(), torch.randn(1, 3, 64, 64))
    for shape in ((1, 3, 224, 224), (4, 3, 96, 128)):
        plan = plan_of(model, torch.randn(shape))
        assert plan.bound <= plan.program.arena_bytes <= 1.1 * plan.bound
