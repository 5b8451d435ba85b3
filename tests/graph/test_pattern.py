"""What patterns can say: sequences of any length, several values, predicates, commutative ops, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import calls, graph_of
from torch import Tensor

from fxquant import Match, Rule, apply_rules, ops, rule
from fxquant.graph.pattern import computed, parameter, scalar
from fxquant.qparams import QParams

P, Q = QParams(0.5, 10), QParams(0.25, 3)
ONE = rule(lambda x, k=scalar(lambda k: k == 1): ops.mul(x, k), lambda x: x)


class CatOfReals(Rule):
    def pattern(self, q: Any, *xs: Any) -> Any:
        return ops.quantize(ops.cat(tuple(ops.dequantize(x, q) for x in xs), 1), q)

    def rewrite(self, m: Match, *xs: Any) -> Any:
        return ops.cat(xs, 1)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_sequence_of_any_length(number: int) -> None:
    def build(*xs: Any) -> Any:
        return ops.quantize(ops.cat(tuple(ops.dequantize(x, P) for x in xs), 1), P)

    gm, codes = graph_of(build, number), [torch.randint(0, 256, (2, 3), dtype=torch.uint8) for _ in range(number)]
    expected = gm(*codes)
    assert calls(apply_rules(gm, [CatOfReals()])) == [ops.cat]
    assert torch.equal(gm(*codes), expected)


def test_every_element_of_a_sequence_must_fit() -> None:
    def build(x: Any, y: Any, other: Any) -> Any:
        return ops.quantize(ops.cat((ops.dequantize(x, P), ops.dequantize(y, other)), 1), P)

    assert len(calls(apply_rules(graph_of(lambda x, y: build(x, y, Q), 2), [CatOfReals()]))) == 4
    assert len(calls(apply_rules(graph_of(lambda x, y: build(x, y, P), 2), [CatOfReals()]))) == 1


def test_some_elements_of_a_sequence_by_name() -> None:
    first_of = rule(lambda x, *xs: ops.cat((ops.relu(x), *xs), 1), lambda x, *xs: ops.cat((*xs, x), 1))
    gm = apply_rules(graph_of(lambda a, b, c: ops.cat((ops.relu(a), b, c), 1), 3), [first_of])
    assert gm(*(torch.full((1, 1), float(i)) for i in range(3))).tolist() == [[1.0, 2.0, 0.0]]
    assert calls(apply_rules(graph_of(lambda a: ops.cat((ops.relu(a),), 1)), [first_of])) == [ops.relu, ops.cat]


def test_an_element_of_several_nodes() -> None:
    silus = rule(
        lambda *xs: ops.cat(tuple(ops.mul(x, ops.sigmoid(x)) for x in xs), 1), lambda *xs: ops.silu(ops.cat(xs, 1))
    )
    gm = apply_rules(
        graph_of(lambda a, b: ops.cat((ops.mul(ops.sigmoid(a), a), ops.mul(b, ops.sigmoid(b))), 1), 2), [silus]
    )
    assert calls(gm) == [ops.cat, ops.silu]
    mixed = graph_of(lambda a, b: ops.cat((ops.mul(ops.sigmoid(a), b), ops.mul(b, ops.sigmoid(b))), 1), 2)
    assert len(calls(apply_rules(mixed, [silus]))) == 5


class OneProduct(Rule):
    """x a and x b of one x are one product with both matrices."""

    def pattern(self, x: Any, a: Any = parameter(), b: Any = parameter(lambda w: w.dim() == 2)) -> Any:
        return ops.linear(x, a, None), ops.linear(x, b, None)

    def rewrite(self, m: Match, x: Any) -> Any:
        both = ops.linear(x, m.constant("both", torch.cat([m.fetch(m.a), m.fetch(m.b)])), None)
        rows = len(m.fetch(m.a))
        return ops.getitem(both, (..., slice(None, rows))), ops.getitem(both, (..., slice(rows, None)))


def two_products(x: Any, a: Any, b: Any) -> Any:
    return ops.relu(ops.linear(x, a, None)), ops.linear(x, b, None)


def test_several_values_whose_readers_stand_between() -> None:
    a, b, x = torch.randn(4, 3), torch.randn(2, 3), torch.randn(5, 3)
    gm = graph_of(two_products, a=a, b=b)
    expected = gm(x)
    apply_rules(gm, [OneProduct()])
    assert calls(gm).count(ops.linear) == 1
    torch.testing.assert_close(gm(x), expected)


def test_several_values_of_which_one_is_made_of_another_are_refused() -> None:
    def build(x: Any, a: Any, b: Any) -> Any:
        y = ops.linear(x, a, None)
        return ops.linear(ops.getitem(y, (slice(None), slice(0, 3))), b, None)

    class Chained(OneProduct):
        def pattern(self, x: Any, y: Any, a: Any = parameter(), b: Any = parameter()) -> Any:
            return ops.linear(x, a, None), ops.linear(y, b, None)

    gm = apply_rules(graph_of(build, a=torch.randn(4, 3), b=torch.randn(2, 3)), [Chained()])
    assert calls(gm).count(ops.linear) == 2
    reasons = [r for node in gm.graph.nodes for r in node.meta.get("refusals", ())]
    assert set(reasons) == {"Chained: one of its inputs is computed from one of its outputs"}


def test_outputs_of_one_op() -> None:
    class Halves(Rule):
        def pattern(self, x: Any) -> Any:
            parts = ops.chunk(x, 2, 1)
            return ops.relu(ops.getitem(parts, 0)), ops.relu(ops.getitem(parts, 1))

        def rewrite(self, m: Match, x: Any) -> Any:
            parts = ops.chunk(ops.relu(x), 2, 1)
            return ops.getitem(parts, 0), ops.getitem(parts, 1)

    def build(x: Any) -> Any:
        first, second = (ops.getitem(ops.chunk(x, 2, 1), i) for i in range(2))
        return ops.relu(first), ops.relu(second)

    def shared(x: Any) -> Any:
        parts = ops.chunk(x, 2, 1)
        return ops.relu(ops.getitem(parts, 0)), ops.relu(ops.getitem(parts, 1))

    assert calls(apply_rules(graph_of(shared), [Halves()])).count(ops.relu) == 1
    assert calls(apply_rules(graph_of(build), [Halves()])).count(ops.relu) == 2  # of two ops


@pytest.mark.parametrize("factor", [1, 1.0, 2, "x"])
def test_a_number_by_predicate(factor: Any) -> None:
    gm = graph_of(lambda x: ops.mul(factor if factor != "x" else x, x))
    assert calls(apply_rules(gm, [ONE])) == ([] if factor == 1 else [ops.mul])


def test_parameters_and_computed_values_by_predicate() -> None:
    positive: Callable[[Tensor], bool] = lambda w: bool((w > 0).all())  # noqa: E731
    by_weight = rule(lambda x=computed(), w=parameter(positive): ops.maximum(x, w), lambda x: x)
    for w, left in ((torch.ones(3), []), (-torch.ones(3), [ops.maximum])):
        assert calls(apply_rules(graph_of(lambda x, w: ops.maximum(w, x), w=w), [by_weight])) == left
    assert calls(apply_rules(graph_of(ops.maximum, 2), [by_weight])) == [ops.maximum]


def test_every_order_of_nested_commutative_ops_is_tried() -> None:
    nested = rule(lambda x, y: ops.add(ops.mul(x, y), y), lambda x, y: ops.mul(x, y))
    for build in (lambda a, b: ops.add(ops.mul(a, b), a), lambda a, b: ops.add(b, ops.mul(a, b))):
        assert calls(apply_rules(graph_of(build, 2), [nested])) == [ops.mul]


def test_another_order_is_tried_where_one_is_refused() -> None:
    class Left(Rule):
        def pattern(self, x: Any, y: Any) -> Any:
            return ops.add(x, y)

        def check(self, m: Match) -> None:
            if m.x.name != "x1":
                m.refuse("it is not the second input")

        def rewrite(self, m: Match, x: Any) -> Any:
            return ops.relu(x)

    assert calls(apply_rules(graph_of(ops.add, 2), [Left()])) == [ops.relu]


def test_functions_outside_of_the_vocabulary() -> None:
    gm = apply_rules(graph_of(lambda x: torch.erf(torch.erf(x))), [rule(lambda x: torch.erf(torch.erf(x)), ops.relu)])
    assert calls(gm) == [ops.relu]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (lambda x: x + 1, lambda x: x, "calls add, which normalize makes into ops"),
        (lambda x: x, lambda x: x, "not what ops compute"),
        (lambda *xs: ops.relu(xs[0]), lambda x: x, r"no sequence with \*xs"),
        (lambda x: ops.relu(x), lambda y: y, "asks for y; the wildcards of its pattern are x"),
        (lambda x: ops.relu(x), lambda x: 3, "returns 3, not a graph value"),
    ],
)
def test_rules_that_make_no_sense(before: Any, after: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=f"test_pattern.py:.*{reason}"):
        apply_rules(graph_of(ops.relu), [rule(before, after)])
