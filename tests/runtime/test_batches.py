"""Large batches run in parts where examples do not meet, with the same integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from graphs import Written
from hypothesis import given
from hypothesis import strategies as st
from regions import quantized, regions_of
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.runtime import batches, planner
from fxquant.runtime.plan import Plan
from fxquant.runtime.region import Int8Region

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that one example fills it."""
    monkeypatch.setattr(batches, "CACHES", 1e-6)


def region_of(code: Callable[..., Any], x: Tensor = X) -> Int8Region:
    model = Written(code, a=nn.Conv2d(3, 8, 3, padding=1), b=nn.Conv2d(8, 8, 1), f=nn.Linear(8, 5))
    (region,) = regions_of(quantized(model, x)).values()
    return region


def planned(region: Int8Region, x: Tensor = X) -> Plan:
    """The plan for `x`, after it gave what the graph gives node by node."""
    plan = region.plan(x)
    results, expected = plan.run((x,)), region.node_by_node(x)
    pairs = [(results, expected)] if isinstance(expected, Tensor) else list(zip(results, expected, strict=True))
    assert all(torch.equal(result, value) and result.stride() == value.stride() for result, value in pairs)
    return plan


def head(m: Any, x: Tensor) -> Tensor:
    y = F.relu(m.a(x))
    return m.f(F.adaptive_avg_pool2d(m.b(y) + y, 1).flatten(1))


def test_examples_that_stay_apart_run_one_by_one() -> None:
    region = region_of(head)
    assert planned(region).parts == 8
    assert planned(region, X[:1]).parts == 1
    assert planned(region, X.to(memory_format=torch.channels_last)).parts == 8
    assert planned(region, X[::2]).parts == 4


def test_shuffles_sizes_and_several_results() -> None:
    def code(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = m.a(x).size()
        y = m.a(x).view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        left, right = torch.chunk(m.b(torch.cat([y.roll(1, 1).flip(3), y[:, :0]], 1)), 2, 1)
        return torch.cat([right, left], 1), left.flatten(1)

    assert planned(region_of(code)).parts == 8


@pytest.mark.parametrize(
    "code",
    [
        lambda m, x: m.b(torch.cat([m.a(x), m.a(x)], 0)).reshape(x.shape[0], 16, 6, 6),
        lambda m, x: m.b(m.a(x).transpose(0, 1)),
        lambda m, x: m.b(m.a(x).reshape(4, 16, 6, 6).reshape(8, 8, 6, 6)),
        lambda m, x: m.b(m.a(x)[:4]),
        lambda m, x: m.b(m.a(x).flip(0)),
        lambda m, x: m.b(m.a(x).roll((1, 2), (1, 0))),
        lambda m, x: m.f(m.a(x).permute(0, 2, 3, 1).reshape(-1, 8)),
        lambda m, x: torch.softmax(m.b(m.a(x)), 0),
        lambda m, x: torch.log_softmax(m.b(m.a(x)), -4),
        lambda m, x: (lambda y: F.scaled_dot_product_attention(y, y, y))(m.f(m.a(x)[:, :, 0, 0])),
        lambda m, x: F.layer_norm(m.a(x), (8, 8, 6, 6)),
    ],
    ids=[
        *("cat", "transpose", "reshape", "slice", "flip", "roll", "rows"),
        *("softmax", "log_softmax", "attention", "layer_norm"),
    ],
)
def test_examples_that_meet_run_together(code: Callable[..., Any]) -> None:
    """`transpose` has as many channels as examples."""
    assert planned(region_of(code)).parts == 1


def test_timed_and_not_are_the_same() -> None:
    region = region_of(head)
    plan = region.plan(X)
    result, seconds = plan.run_timed((X,))
    assert torch.equal(result, plan.run((X,)))
    assert all(time >= 0 for time in seconds.values())
    assert {node.name for node in seconds} >= {"a", "b", "f"}


@pytest.fixture
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also for little work."""
    monkeypatch.setattr(planner, "SERIAL_WORK", -1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(("caches", "parts"), [(1e-6, 8), (1e6, 2)])
def test_each_thread_computes_examples_of_its_own(caches: float, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CACHES", caches)
    region = region_of(head)
    plan = planned(region)
    assert (plan.workers, plan.threads, plan.parts) == (2, 1, parts)
    result, _ = plan.run_timed((X,))
    assert torch.equal(result, region.node_by_node(X))
    assert plan.program.arenas == 2


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("examples", [7, 6, 1])
def test_threads_share_examples_that_are_few_or_odd(examples: int) -> None:
    plan = planned(region_of(head), X[:examples])
    assert (plan.workers, plan.threads) == (1, 2)


@given(st.integers(1, 200), st.floats(0, 600))
def test_a_part_is_the_largest_that_fits(examples: int, fits: float) -> None:
    size = batches._part_size(examples, fits)
    assert examples % size == 0
    assert size == 1 or size <= fits
    assert all(examples % n or n > fits for n in range(size + 1, examples + 1))
