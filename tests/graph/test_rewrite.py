"""The matcher: wildcards, repeated wildcards, commutative ops, refusals, privacy of intermediate values."""

from __future__ import annotations

from typing import Any

import torch
from graphs import calls, graph_of
from torch.fx import Node

from fxquant import Match, Rule, apply_rules, ops
from fxquant.qparams import QParams

P = QParams(0.5, 10)
Q = QParams(0.25, 3)


class Cancel(Rule):
    def pattern(self, x: Any, q: Any) -> Any:
        return ops.quantize(ops.dequantize(x, q), q)

    def rewrite(self, m: Match, x: Any, q: Any) -> Any:
        return x


def test_a_repeated_wildcard_matches_equal_things_only() -> None:
    same = apply_rules(graph_of(lambda x: ops.quantize(ops.dequantize(x, P), P)), [Cancel()])
    assert calls(same) == []
    other = apply_rules(graph_of(lambda x: ops.quantize(ops.dequantize(x, P), Q)), [Cancel()])
    assert calls(other) == [ops.dequantize, ops.quantize]


def test_the_rewritten_graph_computes_the_same() -> None:
    def build(x: Any) -> Any:
        return ops.dequantize(ops.quantize(ops.dequantize(x, P), P), P)

    codes = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(apply_rules(graph_of(build), [Cancel()])(codes), graph_of(build)(codes))


class AddRelu(Rule):
    def pattern(self, x: Any, y: Any) -> Any:
        return ops.add(ops.relu(x), y)

    def rewrite(self, m: Match, x: Any, y: Any) -> Any:
        return ops.mul(x, y)


def test_commutative_ops_match_in_either_order() -> None:
    for build in (lambda x, y: ops.add(ops.relu(x), y), lambda x, y: ops.add(y, ops.relu(x))):
        assert calls(apply_rules(graph_of(build, 2), [AddRelu()])) == [ops.mul]


def test_a_value_that_others_use_is_not_swallowed() -> None:
    def build(x: Any, y: Any) -> Any:
        positive = ops.relu(x)
        return ops.mul(ops.add(positive, y), positive)

    assert calls(apply_rules(graph_of(build, 2), [AddRelu()])) == [ops.relu, ops.add, ops.mul]


class Never(Cancel):
    def check(self, m: Match) -> None:
        m.refuse(f"scale is {m.q.scale}")


def test_a_refusal_is_noted_with_its_reason() -> None:
    gm = apply_rules(graph_of(lambda x: ops.quantize(ops.dequantize(x, P), P)), [Never()])
    nodes: list[Node] = list(gm.graph.nodes)
    assert calls(gm) == [ops.dequantize, ops.quantize]
    assert [n.meta["refusals"] for n in nodes if "refusals" in n.meta] == [["Never: scale is 0.5"]]


class NegativeOfRelu(Rule):
    def pattern(self, x: Any) -> Any:
        return ops.mul(ops.relu(x), -1)

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.mul(x, -1)


def test_what_was_rewritten_no_longer_uses_anything() -> None:
    gm = graph_of(lambda x: ops.mul(ops.relu(ops.relu(ops.relu(x))), -1))
    assert calls(apply_rules(gm, [NegativeOfRelu()])) == [ops.mul]


class Doubled(Rule):
    def pattern(self, x: Any, w: Any) -> Any:
        return ops.mul(ops.linear(x, w, None), 2)

    def rewrite(self, m: Match, x: Any, w: Any) -> Any:
        return ops.linear(x, m.changed(w, m.fetch(w) * 2), None)


def test_a_changed_parameter_keeps_its_name() -> None:
    w, x = torch.randn(4, 3), torch.randn(2, 3)
    gm = graph_of(lambda x, w: ops.mul(ops.linear(x, w, None), 2), w=w)
    expected = gm(x)
    torch.testing.assert_close(apply_rules(gm, [Doubled()])(x), expected)
    assert list(gm.state_dict()) == ["w"]


def test_a_parameter_that_others_read_stays_what_it_is() -> None:
    def build(x: Any, w: Any) -> Any:
        return ops.mul(ops.linear(x, w, None), 2), ops.linear(x, w, None)

    w, x = torch.randn(4, 3), torch.randn(2, 3)
    gm = graph_of(build, w=w)
    expected = gm(x)
    torch.testing.assert_close(apply_rules(gm, [Doubled()])(x), expected)
    assert sorted(gm.state_dict()) == ["w", "w_1"]
