"""What is measured, how it is added up, and how often. The clock itself is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from graphs import Written
from stub import image, placement_of, prepared
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import convert_fx
from fxquant.demo.metrics import sqnr_db
from fxquant.placement import Kernel, MeasuredCosts, measure, place
from fxquant.placement.overhead import Overhead, measured_overhead
from fxquant.placement.timing import least_seconds
from fxquant.placement.units import units_of

X = image(2, 4, 8, 8)
OVERHEAD = Overhead(region=7.0, kernel=0.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every call takes 3 seconds, 1 if it is of no images, 0 if it is none. How many calls each measurement timed."""
    measured: list[int] = []

    def seconds(call: Callable[[], Any]) -> float:
        result = call()
        if isinstance(result, int):
            return 0.0
        return 1.0 if isinstance(result, Tensor) and result.numel() == 0 else 3.0

    def least(calls: Sequence[Callable[[], Any]]) -> list[float]:
        measured.append(len(calls))
        return [seconds(call) for call in calls]

    monkeypatch.setattr(measure, "least_seconds", least)
    monkeypatch.setattr(measure, "measured_overhead", lambda: OVERHEAD)
    monkeypatch.setattr(MeasuredCosts, "_known", {})
    return measured


def kernels(code: Any, x: Tensor = X, **modules: nn.Module) -> list[Kernel | None]:
    gm = prepared(Written(code, **modules), x)
    costs = MeasuredCosts()
    return [costs.kernel(gm, unit) for unit in units_of(gm)]


LAYER = 3.0 - 1.0 + OVERHEAD.kernel


@pytest.mark.usefixtures("clock")
def test_a_kernel_costs_its_time_without_its_call_and_what_the_region_adds() -> None:
    found = kernels(lambda m, x: F.relu(m.a(x)), a=nn.Conv2d(4, 4, 1))
    assert found == [Kernel(int8=LAYER, float=4 * 3.0)]  # float fetches weight and bias, and runs two ops


@pytest.mark.usefixtures("clock")
def test_movement_costs_its_call_in_either_precision() -> None:
    assert kernels(lambda m, x: F.max_pool2d(x, 2).flatten(1))[1] == Kernel(int8=3.0, float=3.0)


@pytest.mark.usefixtures("clock")
def test_movement_takes_no_longer_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_bytes(call: Callable[[], Any]) -> float:
        result = call()
        return 9.0 if isinstance(result, Tensor) and result.dtype is torch.uint8 else 3.0

    monkeypatch.setattr(measure, "least_seconds", lambda calls: [slow_bytes(call) for call in calls])
    pool, flatten = kernels(lambda m, x: F.avg_pool2d(x, 1).flatten(1))
    assert pool is not None
    assert flatten == Kernel(int8=3.0, float=3.0)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("code", "x"),
    [
        (lambda m, x: m.linear(x), image(8)),
        (lambda m, x: m.linear(x), image(2, 3, 8)),
        (lambda m, x: F.max_pool2d(x, 2), X),
        (lambda m, x: F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:]), X),
        (lambda m, x: F.pad(F.max_pool2d(x, 2), (1, 1), value=2.0), X),
    ],
)
def test_every_layer_can_be_measured_of_no_images(code: Any, x: Tensor) -> None:
    found = kernels(code, x, linear=nn.Linear(8, 4))
    assert found
    assert {kernel.int8 for kernel in found if kernel is not None} == {LAYER}


@pytest.mark.usefixtures("clock")
def test_an_integer_parameter_is_fetched_too() -> None:
    assert kernels(lambda m, x: x * m.scale.weight, scale=nn.Linear(8, 8)) == [Kernel(int8=LAYER + 3.0, float=6.0)]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (1, 4, 6, 6)])
def test_entering_a_region_costs_more_than_leaving_it(shape: tuple[int, ...]) -> None:
    costs = MeasuredCosts()
    assert (costs.quantize(shape), costs.dequantize(shape)) == (2.0 + OVERHEAD.region, 2.0)


def test_equal_things_are_measured_once(clock: list[int]) -> None:
    code = lambda m, x: m.c(m.b(m.a(x)))  # noqa: E731
    convs = {name: nn.Conv2d(4, 4, 1) for name in "abc"}
    first, second, third = kernels(code, **convs)
    assert first == second == third
    assert clock == [5]  # in float a conv and its parameters; in int8 a layer, twice
    kernels(code, **convs)
    assert clock == [5]


def test_other_threads_are_measured_anew(clock: list[int]) -> None:
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            MeasuredCosts().dequantize((2, 3))
    finally:
        torch.set_num_threads(threads)
    assert clock == [2, 2]


@pytest.mark.usefixtures("clock")
def test_measuring_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    MeasuredCosts().quantize((2, 3))
    kernels(lambda m, x: F.max_pool2d(x, 2))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_least_time_of_each_call_is_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    least = least_seconds([lambda: ran.append("a"), lambda: ran.append("b")], turns=3)
    assert ran == ["a", "b"] * 4  # once to warm up
    assert all(0 < seconds < 1 for seconds in least)


def test_the_overhead_of_this_machine() -> None:
    region, kernel = measured_overhead()
    assert 0 <= kernel < 1e-2
    assert 0 <= region < 1e-2


def test_a_model_placed_by_measurement_is_close_to_float() -> None:
    model = Written(lambda m, x: m.head(F.relu(m.a(x)).mean((2, 3))), a=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 2))
    gm = prepared(model, X)
    quantized = convert_fx(gm, placement="fastest")
    assert sqnr_db(model(X), quantized(X)) > 20
    first = placement_of(place(gm, MeasuredCosts()))  # what was measured is remembered
    assert first == placement_of(place(prepared(model, X), MeasuredCosts()))


@pytest.mark.usefixtures("clock")
def test_integers_that_a_unit_reads_index_anything() -> None:
    found = kernels(lambda m, x: torch.gather(m.a(x), 1, x.argmax(1, keepdim=True)), a=nn.Conv2d(4, 4, 1))
    assert found[1] == Kernel(int8=3.0, float=3.0)


@pytest.mark.usefixtures("clock")
def test_products_of_two_matrices_have_no_batch() -> None:
    found = kernels(lambda m, x: m.a(x) @ m.a(x).T, image(8, 4), a=nn.Linear(4, 4))
    assert found[-1] == Kernel(int8=LAYER, float=3.0)
