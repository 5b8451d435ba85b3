"""A graph's parts as submodules, and back: the same nodes, names, meta and numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from graphs import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import INPUT, RandomModel
from regions import assert_same, quantized
from torch import nn
from torch.fx import Graph, GraphModule, Node

from fxquant.graph.extract import extract, inlined
from fxquant.runtime.region import Int8Region


class Part(GraphModule):
    """What the tests extract."""


def part(root: nn.Module, graph: Graph) -> Part:
    return Part(root, graph)


def extracted(gm: GraphModule, *parts: list[str]) -> GraphModule:
    """`gm` with the nodes of these names as parts."""
    nodes = {node.name: node for node in gm.graph.nodes}
    return extract(gm, [[nodes[name] for name in names] for names in parts], part, "part")


def marked(gm: GraphModule) -> GraphModule:
    """Every node carries meta of its own."""
    for node in gm.graph.nodes:
        node.meta.update(shape=torch.Size([2, 3]), dtype=torch.float32, origin=node.name)
    return gm


def lines(gm: GraphModule) -> dict[str, tuple[Any, ...]]:
    """Each node's name, with what it calls, reads and carries."""
    found = {}
    for node in gm.graph.nodes:
        target = str(node.target).rpartition("part.")[2] if node.op == "get_attr" else node.target
        found[node.name] = (node.op, target, [n.name for n in node.all_input_nodes], node.meta.get("origin"))
    return found


def diamond(x: Any, y: Any) -> Any:
    """add -> mul -> sub and add -> sub."""
    a = x + y
    return a * y - a


def test_a_way_out_of_a_part_and_back_is_refused() -> None:
    with pytest.raises(ValueError, match="add depends on itself once parts are single nodes"):
        extracted(graph_of(diamond, 2), ["add", "sub"])


def test_a_part_becomes_a_call() -> None:
    gm, inputs = marked(graph_of(diamond, 2)), (torch.randn(2, 3), torch.randn(2, 3))
    expected, before = gm(*inputs), lines(gm)
    after = extracted(gm, ["add", "mul"])
    assert [node.name for node in after.graph.nodes] == ["x0", "x1", "part", "getitem", "getitem_1", "sub", "output"]
    assert [node.name for node in after.part.graph.nodes] == ["x0", "x1", "add", "mul", "output"]  # type: ignore[union-attr]
    assert torch.equal(after(*inputs), expected)
    assert lines(inlined(after, Part)) == before
    assert torch.equal(inlined(after, Part)(*inputs), expected)


def test_one_result_comes_as_it_is() -> None:
    after = extracted(marked(graph_of(diamond, 2)), ["add", "mul", "sub"])
    call = next(node for node in after.graph.nodes if node.name == "part")
    assert [node.name for node in after.graph.nodes] == ["x0", "x1", "part", "output"]
    assert call.meta == {"shape": torch.Size([2, 3]), "dtype": torch.float32}


def test_a_part_waits_for_all_that_it_reads() -> None:
    """add and sub are one part, so neg has to come before add."""
    gm = graph_of(lambda x, y: (x + y) - torch.neg(torch.abs(y)), 2)
    inputs = (torch.randn(3), torch.randn(3))
    expected = gm(*inputs)
    after = extracted(gm, ["add", "sub"])
    assert [node.name for node in after.graph.nodes] == ["x0", "x1", "abs_1", "neg", "part", "output"]
    assert torch.equal(after(*inputs), expected)


def test_modules_move_and_constants_are_shared() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
            self.register_buffer("c", torch.randn(3))

        def forward(self, x: Any) -> Any:
            return torch.sin(self.body[0](x) + self.c) * self.c + self.body[1](x)

    model, x = Model(), torch.randn(2, 3)
    gm = torch.fx.symbolic_trace(model)
    names = [node.name for node in gm.graph.nodes]
    expected = gm(x)
    c = gm.c
    after = extracted(gm, ["body_0", "add"], ["mul"])
    assert torch.equal(after(x), expected)
    assert set(dict(after.named_modules())) == {"", "body", "body.1", "part", "part.body", "part.body.0", "part_1"}
    assert isinstance(after.get_submodule("part.body.0"), nn.Linear)
    assert after.get_buffer("part.c") is c
    assert after.get_buffer("part_1.c") is c
    assert "c" not in dict(after.named_buffers())
    back = inlined(after, Part)
    assert torch.equal(back(x), expected)
    assert {n.name for n in back.graph.nodes} >= {name for name in names if name != "c"}


def test_nothing_to_extract() -> None:
    gm = graph_of(diamond, 2)
    before = lines(gm)
    assert lines(extracted(gm)) == before
    assert lines(inlined(gm, Part)) == before


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_any_parts_that_are_convex(length: int, random: Any) -> None:
    """Cutting a chain with skips at any places: extraction keeps the numbers, inlining brings the nodes back."""

    def build(x: Any) -> Any:
        values = [x]
        for _ in range(length):
            values.append(torch.add(random.choice(values), values[-1]))
        return values[-1], random.choice(values[1:])

    gm = marked(graph_of(build))
    x = torch.randn(2)
    expected, before = gm(x), lines(gm)
    nodes: list[Node] = [node for node in gm.graph.nodes if node.op == "call_function"]
    cuts = sorted({0, len(nodes), *random.sample(range(len(nodes)), random.randint(0, len(nodes) - 1))})
    spans = [nodes[i:j] for i, j in pairwise(cuts)]
    after = extract(gm, [span for span in spans if random.random() < 0.7], part, "part")
    assert_same(after(x), expected)
    assert lines(inlined(after, Part)) == before


@pytest.mark.parametrize("seed", range(3))
def test_regions_inlined_compute_the_same(seed: int) -> None:
    gm, x = quantized(RandomModel(seed), torch.randn(INPUT)), torch.randn(INPUT)
    back = inlined(gm, Int8Region)
    assert not [
        node for node in back.graph.nodes if str(node.target).startswith("int8") and "." not in str(node.target)
    ]
    assert_same(back(x), gm(x))


def test_a_part_may_wait_for_a_chain_of_any_length() -> None:
    def code(x: Any, y: Any) -> Any:
        first = x * 2
        for _ in range(3000):
            y = y + 1
        return first - y

    gm = graph_of(code, 2)
    after = extracted(gm, ["mul", "sub"])
    x, y = torch.ones(2), torch.zeros(2)
    assert torch.equal(after(x, y), torch.full((2,), -2998.0))
