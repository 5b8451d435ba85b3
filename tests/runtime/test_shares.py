"""What threads share out among themselves comes out right in whatever order they run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
import torch
from random_models import INPUT, RandomModel
from regions import assert_planned_right, node_by_node, quantized, region_of, regions_of
from test_bands import bottleneck, written
from torch import Tensor, nn

from fxquant.kernels import _kernels
from fxquant.runtime import planner, shares
from fxquant.runtime.call import Call
from fxquant.runtime.plan import Plan
from fxquant.runtime.region import Int8Region

X = torch.randn(1, 3, 23, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small programs run on several threads too, and rows are shared out however unevenly."""
    monkeypatch.setattr(planner, "SERIAL_WORK", -1)
    monkeypatch.setattr(shares, "UNEVEN", 100)


def planned(region: Int8Region, inputs: Sequence[Tensor], threads: int) -> Plan:
    return planner.Planner(region, inputs, threads).plan()


def one_order(calls: Sequence[Call], waits: Sequence[int], favoured: Sequence[int]) -> list[Call]:
    """An order in which threads may come to the calls: the first of `favoured` goes on for as long as it may."""
    done = [0] * len(favoured)
    order: list[Call] = []

    def may_go(thread: int) -> bool:
        step = done[thread]
        if step == len(calls):
            return False
        wanted = waits[step] if calls[step].shares else step
        return all(others >= wanted for i, others in enumerate(done) if i != thread)

    while min(done) < len(calls):
        thread = next(filter(may_go, favoured))
        call = calls[done[thread]]
        if not call.shares:
            order.append(call)
            done = [step + 1 for step in done]
            continue
        order += call.shares[thread : thread + 1]
        done[thread] += 1
    return order


def run_in(order: Sequence[Call], plan: Plan, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The results of a program that makes these calls, of one thread, in the arena of `plan`."""
    program = _kernels.Program(plan.program.arena_bytes, len(inputs) + len(plan.outputs))
    for call in order:
        for each in call.joined or (call,):
            getattr(program, each.kernel)(*each.arguments)
    memory = [output.memory() for output in plan.outputs]
    program.run(1, *[x.data_ptr() for x in (*inputs, *memory)])
    return [output.view(y) for output, y in zip(plan.outputs, memory, strict=True)]


def right_orders(region: Int8Region, inputs: Sequence[Tensor], threads: int, waits: Any = shares.waits) -> list[bool]:
    """For each order of the threads, one favoured over the next, whether the results are those of the graph."""
    plan = planned(region, inputs, threads)
    expected = region.node_by_node(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    return [
        all(map(torch.equal, run_in(one_order(plan.calls, waits(plan.calls), favoured), plan, inputs), expected))
        for favoured in permutations(range(threads))
    ]


MODELS = [
    bottleneck(),
    bottleneck(2),
    bottleneck(kernel=5),
    bottleneck(2, 5),
    bottleneck(groups=1),
    bottleneck(2, 3, 1),
]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("code", MODELS)
def test_any_order_that_the_threads_may_take_is_right(code: Any, threads: int) -> None:
    assert all(right_orders(region_of(quantized(written(code), X)), [X], threads))


@pytest.mark.usefixtures("eager")
def test_without_waiting_it_goes_wrong() -> None:
    region = region_of(quantized(written(bottleneck()), X))
    assert not any(right_orders(region, [X], 2, lambda calls: [0] * len(calls)))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("code", MODELS)
def test_teams_compute_what_the_graph_does(code: Any) -> None:
    model = quantized(written(code), X)
    assert_planned_right(model, X, torch.randn(1, 3, 8, 30), torch.randn(2, 3, 9, 9), threads=(2, 3, 4))


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("seed", range(16))
def test_random_models(seed: int) -> None:
    model = quantized(RandomModel(seed), torch.randn(INPUT))
    for threads in (2, 3):
        for region in regions_of(model).values():
            inputs = [torch.randn(INPUT)]
            if len(regions_of(model)) == 1:
                assert all(right_orders(region, inputs, threads))
    assert_planned_right(model, torch.randn(INPUT), threads=(2, 3))


def test_threads_wait_where_they_read_rows_of_another() -> None:
    """Of a chain on rows that threads keep, the copy for the depthwise layer alone waits for the layer before."""
    x = torch.randn(1, 3, 64, 64)
    calls = planned(region_of(quantized(written(bottleneck()), x)), [x], 2).calls
    waits = {(call.node.name, call.kernel): wait for call, wait in zip(calls, shares.waits(calls), strict=True)}
    expanded = [call.node.name for call in calls].index("middle")
    assert waits["middle", "copy"] == expanded
    assert waits["middle", "depthwise_conv2d"] <= expanded
    assert waits["project", "conv2d"] <= expanded


def test_no_thread_writes_where_another_one_does() -> None:
    """But for calls that are not in shares, the bytes of a thread are its own from one call to the next."""
    x = torch.randn(1, 3, 64, 64)
    plan = planned(region_of(quantized(written(bottleneck(2)), x)), [x], 2)
    spans: list[list[shares.Span]] = [[], []]
    for call in plan.calls:
        for thread, share in enumerate(call.shares):
            spans[thread] += [span for span in shares.touched(share).written if span.base == 0]
    assert len(spans[0]) > 4
    assert not any(mine.meets(theirs) for mine in spans[0] for theirs in spans[1])
    assert plan.program.arena_bytes <= 1.1 * plan.bound


def test_what_a_call_without_shares_reads_lies_in_one_piece() -> None:
    model = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 256, 1))
    x = torch.randn(1, 3, 64, 64)
    plan = planned(region_of(quantized(model, x)), [x], 2)
    threads = {call.node.name: [share.y.buffer.thread for share in call.shares] for call in plan.calls}
    assert threads["_0"] == [0, 1]
    assert threads["_1"] == [None, None]


def test_shares_are_even(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows stay one call of two threads: four and three would leave one of them idle."""
    shared = {}
    for height in (7, 14):
        x = torch.randn(1, 64, height, height)
        model = nn.Sequential(nn.Conv2d(64, 256, 1), nn.Conv2d(256, 64, 1))
        (call, _) = [c for c in planned(region_of(quantized(model, x)), [x], 2).calls if c.kernel == "conv2d"]
        shared[height] = [share.rows for share in call.shares]
    assert shared == {7: [], 14: [(0, 7), (7, 14)]}


def test_one_thread_shares_nothing() -> None:
    x = torch.randn(1, 3, 64, 64)
    model = quantized(written(bottleneck()), x)
    assert not any(call.shares for call in planned(region_of(model), [x], 1).calls)
    assert torch.equal(model(x), node_by_node(model, x))
