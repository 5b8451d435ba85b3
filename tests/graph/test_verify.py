"""Each promise, and a graph that breaks it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import X, graph_of
from torch.fx import GraphModule

from fxquant import ops
from fxquant.errors import VerifyError
from fxquant.graph import surgery
from fxquant.graph.annotation import decide
from fxquant.graph.registry import STAGES
from fxquant.graph.verify import PROMISES, verify
from fxquant.observer import MinMaxObserver
from fxquant.qparams import Requantize
from fxquant.runtime.layers import Lookup


def with_observer() -> GraphModule:
    gm = graph_of(ops.relu)
    (relu,) = (node for node in gm.graph.nodes if node.target is ops.relu)
    name = relu.meta["observer"] = surgery.add_module(gm, "observer", MinMaxObserver())
    surgery.insert_after(relu, lambda x: surgery.call_module(surgery.next_node(x), name, x))
    return gm


def with_int8_op() -> GraphModule:
    return graph_of(lambda x: ops.int8_mul(x, x, 0.1, 0, 0, Requantize(0)))


def with_layer_on_reals() -> GraphModule:
    gm = graph_of(ops.relu)
    for node in gm.graph.nodes:
        node.meta["dtype"] = torch.float32
    (relu,) = (node for node in gm.graph.nodes if node.target is ops.relu)
    name = surgery.add_module(gm, "lookup", Lookup({"table": torch.zeros(256, dtype=torch.uint8)}))
    surgery.replace(relu, surgery.call_module(relu, name, relu.args[0]))
    return gm


def with_users_spelling() -> GraphModule:
    return graph_of(lambda x: torch.relu(x))


BROKEN: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "one vocabulary": (("normalize", "fuse", "annotate", "observe"), with_users_spelling, "user's spelling"),
    "decided": (("annotate",), lambda: graph_of(ops.relu), "relu, from relu: no decision"),
    "no observers": (("convert", "fold", "lower", "plan"), with_observer, "an observer is left"),
    "no integer ops": (("lower", "plan"), with_int8_op, "int8_mul was not lowered to a kernel"),
    "right dtypes": (("lower", "plan"), with_layer_on_reals, "it reads x0, which is not uint8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_named(name: str) -> None:
    stages, build, message = BROKEN[name]
    for stage in stages:
        with pytest.raises(VerifyError, match=f"(?s)after {stage} .*{message}"):
            verify(build(), stage)


def test_promises_hold_only_from_their_stage_on() -> None:
    verify(with_observer(), "observe")
    verify(with_int8_op(), "fold")
    verify(with_users_spelling(), "convert")
    verify(graph_of(ops.relu), "fuse")
    verify(graph_of(lambda x: ops.dequantize(ops.quantize(x, X), X)), "fold")


def test_a_spelling_with_a_reason_may_stay() -> None:
    gm = with_users_spelling()
    for node in gm.graph.nodes:
        node.meta["reason"] = "its bounds are tensors"
        decide(node, int8=False)
    verify(gm, "annotate")


def test_every_stage_promises_something() -> None:
    assert set(PROMISES) == set(STAGES)
    assert all(PROMISES.values())


def test_a_graph_that_is_none_does_not_pass() -> None:
    gm = graph_of(lambda x: ops.relu(ops.sigmoid(x)))
    sigmoid, relu = (node for node in gm.graph.nodes if node.op == "call_function")
    relu.append(sigmoid)
    with pytest.raises(RuntimeError):
        verify(gm, "fold")
