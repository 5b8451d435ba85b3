"""The cut is the best of all choices, and of those the one with most units in int8."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from fxquant.placement.cut import cheapest
from fxquant.placement.problem import FIXED_INT8, Kernel, Problem, Value

NS = 1e-9


def value(producer: int | None, *readers: int | None, quantize: float = 3.0, dequantize: float = 3.0) -> Value:
    return Value(producer, frozenset(readers), quantize * NS, dequantize * NS)


def problem(kernels: list[tuple[float, float]], *values: Value) -> Problem:
    return Problem(tuple(Kernel(int8 * NS, real * NS) for int8, real in kernels), values)


def test_one_unit_pays_both_conversions() -> None:
    borders = value(None, 0), value(0, None)
    assert cheapest(problem([(1, 8)], *borders)) == {0}
    assert cheapest(problem([(1, 6)], *borders)) == set()


def test_of_equal_choices_int8_is_taken() -> None:
    assert cheapest(problem([(1, 7)], value(None, 0), value(0, None))) == {0}


def test_a_chain_shares_its_conversions() -> None:
    links = value(None, 0), value(0, 1), value(1, 2), value(2, None)
    assert cheapest(problem([(1, 4)] * 3, *links)) == {0, 1, 2}
    assert cheapest(problem([(1, 2)] * 3, *links)) == set()


def test_a_slow_int8_kernel_leaves_its_neighbours_in_int8() -> None:
    links = value(None, 0), value(0, 1), value(1, 2), value(2, None)
    assert cheapest(problem([(1, 9), (20, 5), (1, 9)], *links)) == {0, 2}


def test_a_value_is_converted_once_for_all_its_readers() -> None:
    fan_out = value(None, 0), value(0, None, 1), value(1, None)
    assert cheapest(problem([(1, 9), (50, 1)], *fan_out)) == {0}
    fan_in = value(None, 0, 1), value(0, None, dequantize=0), value(1, None, dequantize=0)
    assert cheapest(problem([(1, 3), (1, 3)], *fan_in)) == {0, 1}


def test_what_cannot_be_measured_stays_in_int8() -> None:
    unknown = Problem((FIXED_INT8,), (value(None, 0, quantize=1e6), value(0, None, quantize=1e6)))
    assert cheapest(unknown) == {0}


def test_nothing_to_place() -> None:
    assert cheapest(Problem((), (value(None, None),))) == set()


def test_the_cost_of_some_units_is_theirs_and_that_of_the_values_next_to_them() -> None:
    whole = problem([(1, 5), (2, 6), (4, 7)], value(None, 0), value(0, 1), value(1, 2), value(2, None))
    assert math.isclose(whole.seconds({0, 1, 2}), (1 + 2 + 4 + 3 + 3) * NS)
    assert math.isclose(whole.seconds({0, 2}), (1 + 6 + 4 + 4 * 3) * NS)
    assert math.isclose(whole.seconds({0, 2}, of={1}), (6 + 3 + 3) * NS)
    assert math.isclose(whole.seconds({0, 1, 2}, of={1}), 2 * NS)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to 6 units; every value has one producer, perhaps the float rest, and later readers."""
    size = draw(st.integers(1, 6))
    cost = st.integers(0, 12)
    kernels = [(draw(cost), draw(cost)) for _ in range(size)]
    ends = st.sampled_from([None, *range(size)])
    values = draw(
        st.lists(st.builds(value, ends, ends, ends, quantize=cost, dequantize=cost), max_size=2 * size),
    )
    return problem(kernels, *values)


def choices(units: int) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(range(units), size) for size in range(units + 1))


@given(problems())
@settings(max_examples=300, deadline=None)
def test_no_choice_costs_less_and_none_that_costs_the_same_has_more_in_int8(case: Problem) -> None:
    found = cheapest(case)
    costs = {choice: round(case.seconds(choice) / NS) for choice in choices(len(case.kernels))}
    least = min(costs.values())
    assert costs[tuple(sorted(found))] == least
    assert all(found >= set(choice) for choice, cost in costs.items() if cost == least)
