from __future__ import annotations

from typing import Any

import torch
from graphs import X, graph_of, node_of
from torch.fx import Node

from fxquant import ops
from fxquant.graph.annotation import Quant, activations, decide, is_table, leads, quant_of


def call(build: Any, target: Any, inputs: int = 2) -> Node:
    return node_of(graph_of(build, inputs, w=torch.randn(1, 1)), target)


def names(node: Node) -> list[str]:
    return [x.name for x in activations(node)]


def test_what_nobody_decided_is_float_without_a_reason() -> None:
    node = call(lambda x, y, w: ops.relu(x), ops.relu)
    assert quant_of(node) == Quant(int8=False, reason="", group=None, observe=False, absorbed_by="")


def test_decisions_add_up() -> None:
    node = call(lambda x, y, w: ops.relu(x), ops.relu)
    decide(node, int8=True)
    decide(node, group=3, observe=True)
    decide(node, absorbed_by="relu")
    assert quant_of(node) == Quant(int8=True, group=3, observe=True, absorbed_by="relu")


def test_activations_are_the_values_that_an_op_quantizes() -> None:
    assert names(call(lambda x, y, w: ops.linear(x, w), ops.linear)) == ["x0"]
    assert names(call(lambda x, y, w: ops.cat((y, x, y), 1), ops.cat)) == ["x1", "x0", "x1"]
    assert names(call(lambda x, y, w: ops.add(x, 1.0), ops.add)) == ["x0"]
    assert names(call(lambda x, y, w: ops.add(x, w), ops.add)) == ["x0", "w"]
    assert names(call(lambda x, y, w: x.tolist(y), "tolist")) == ["x0", "x1"]


def test_a_table_is_a_function_of_one_value() -> None:
    def table(build: Any, target: Any) -> bool:
        return is_table(call(build, target))

    assert table(lambda x, y, w: ops.sigmoid(x), ops.sigmoid)
    assert table(lambda x, y, w: ops.mul(x, 2.0), ops.mul)
    assert not table(lambda x, y, w: ops.mul(x, y), ops.mul)
    assert not table(lambda x, y, w: ops.flatten(x), ops.flatten)


def test_ops_with_weights_or_two_tensors_lead() -> None:
    assert leads(call(lambda x, y, w: ops.linear(x, w), ops.linear))
    assert leads(call(lambda x, y, w: ops.add(x, y), ops.add))
    assert not leads(call(lambda x, y, w: ops.add(x, 1.0), ops.add))
    assert not leads(call(lambda x, y, w: ops.div(x, y), ops.div))
    assert not leads(call(lambda x, y, w: ops.relu(x), ops.relu))
    assert not leads(call(lambda x, y, w: ops.quantize(x, X), ops.quantize))
    assert not leads(call(lambda x, y, w: x.tolist(), "tolist"))
