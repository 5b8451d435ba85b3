from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import calls, graph_of, node_of
from torch import nn
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.origin import Origin

HERE, THERE = Origin("a.b", nn.ReLU, nn.ReLU), Origin("c", None, torch.relu)
INPUT = torch.linspace(-2, 2, 5)


def relu_graph(**tensors: torch.Tensor) -> tuple[GraphModule, Node]:
    gm = graph_of(lambda x, **_: ops.relu(x), **tensors)
    return gm, node_of(gm, ops.relu)


def names(gm: GraphModule) -> list[str]:
    return [node.name for node in gm.graph.nodes]


def test_emit_records_in_front_of_a_node() -> None:
    gm, relu = relu_graph()
    (x,) = relu.all_input_nodes
    new = surgery.emit(relu, lambda x: ops.mul(ops.add(x, 1.0), 2.0), x, origin=HERE)
    assert names(gm) == ["x0", "add", "mul", "relu", "output"]
    assert (new.name, new.meta["origin"], new.args[0].meta["origin"]) == ("mul", HERE, HERE)
    surgery.replace(relu, new)
    assert torch.equal(surgery.clean(gm)(INPUT), (INPUT + 1) * 2)


def test_emit_takes_over_the_origins_of_its_sources() -> None:
    _, relu = relu_graph()
    first, second = (surgery.emit(relu, ops.relu, relu.args[0], origin=o) for o in (HERE, THERE))
    both = surgery.emit(relu, ops.add, first, second, sources=[first, second])
    again = surgery.emit(relu, ops.mul, both, first, sources=[both, first])
    assert both.meta["origin"] == HERE
    assert surgery.absorbed_origins(again) == (HERE, THERE)
    assert surgery.absorbed_origins(relu) == ()


def test_replace_hands_on_what_holds_of_the_value() -> None:
    gm, relu = relu_graph()
    relu.meta.update(shape=torch.Size([5]), dtype=torch.float32, quant="q", origin=HERE, refusals=["no"])
    new = surgery.emit(relu, ops.sigmoid, relu.args[0])
    new.meta["dtype"] = torch.float64
    surgery.replace(relu, new)
    assert new.meta["shape"] == torch.Size([5])
    assert (new.meta["dtype"], new.meta["quant"], new.meta["origin"]) == (torch.float64, "q", HERE)
    assert "refusals" not in new.meta
    assert calls(gm) == [ops.sigmoid]


def test_replace_lets_the_new_node_read_the_old_ones_input() -> None:
    gm, relu = relu_graph()
    (x,) = relu.all_input_nodes
    surgery.replace(relu, x)
    assert torch.equal(surgery.clean(gm)(INPUT), INPUT)
    assert "origin" not in x.meta


def test_replace_after_leaves_earlier_readers_alone() -> None:
    gm = graph_of(lambda x: (ops.relu(x), ops.tanh(x)))
    tanh = node_of(gm, ops.tanh)
    (x,) = tanh.all_input_nodes
    surgery.replace_after(x, surgery.emit(tanh, ops.mul, x, 2.0))
    relu, double = surgery.clean(gm)(INPUT)
    assert torch.equal(relu, INPUT.relu())
    assert torch.equal(double, (2 * INPUT).tanh())


def test_insert_after_routes_every_user_through_the_new_node() -> None:
    gm = graph_of(lambda x, y: (ops.add(x, y), ops.relu(x)), inputs=2)
    (x, *_) = gm.graph.nodes
    surgery.insert_after(x, lambda x: surgery.emit(surgery.next_node(x), ops.mul, x, 3.0))
    assert names(gm)[:3] == ["x0", "x1", "mul"]
    total, relu = surgery.clean(gm)(INPUT, INPUT)
    assert torch.equal(total, 4 * INPUT)
    assert torch.equal(relu, 3 * INPUT.relu())


def test_erase_unused_follows_the_chain_and_spares_what_is_read() -> None:
    gm, relu = relu_graph()
    first = surgery.emit(relu, ops.tanh, relu.args[0])
    second = surgery.emit(relu, ops.sigmoid, first)
    surgery.erase_unused([first, second, relu])
    assert calls(gm) == [ops.relu]


def test_constants_get_free_names_and_know_their_shape() -> None:
    gm, relu = relu_graph(weight=torch.ones(2))
    nodes = [surgery.constant(gm, name, torch.zeros(3), relu) for name in ("weight", "weight", "a.b")]
    assert [node.target for node in nodes] == ["weight_1", "weight_2", "a.b"]
    assert nodes[2].meta["shape"] == torch.Size([3])
    assert torch.equal(surgery.fetch(gm, nodes[0]), torch.zeros(3))
    assert torch.equal(gm.get_buffer("a.b"), torch.zeros(3))


def test_set_constant_takes_the_place_of_a_parameter() -> None:
    gm, _ = relu_graph()
    gm.register_parameter("w", nn.Parameter(torch.ones(2)))
    surgery.set_constant(gm, "w", torch.zeros(2))
    assert (list(gm.named_parameters()), [name for name, _ in gm.named_buffers()]) == ([], ["w"])


@pytest.mark.parametrize(("replacing", "name"), [(True, "w"), (False, "w_1")])
def test_a_parameter_replaces_or_finds_another_name(replacing: bool, name: str) -> None:
    gm, relu = relu_graph(w=torch.ones(2))
    node = surgery.parameter(gm, "w", torch.zeros(2), relu, replacing)
    assert node.target == name
    assert [(n, p.requires_grad) for n, p in gm.named_parameters()] == [(name, True)]
    assert not surgery.parameter(gm, "i", torch.zeros(2, dtype=torch.int8), relu, True).meta["dtype"].is_floating_point


def test_fetch_takes_tensors_only() -> None:
    gm, relu = relu_graph(w=torch.ones(2))
    module = surgery.get_attr(gm, "w", relu)
    module.target = "graph"
    with pytest.raises(TypeError, match="graph is not a tensor"):
        surgery.fetch(gm, module)


def test_clean_drops_dead_nodes_and_what_they_read_but_no_input() -> None:
    def build(x: Any, y: Any, used: Any, unused: Any) -> Any:
        ops.mul(y, unused)
        return ops.add(x, used)

    gm = graph_of(build, inputs=2, used=torch.ones(1), unused=torch.ones(1))
    surgery.add_module(gm, "block.dead", nn.Linear(2, 2))
    surgery.clean(gm)
    assert names(gm) == ["x0", "x1", "used", "add", "output"]
    assert list(gm.state_dict()) == ["used"]
    assert list(gm.children()) == []


def test_clean_keeps_the_whole_of_a_module_that_is_called() -> None:
    gm, relu = relu_graph()
    name = surgery.add_module(gm, "block.fc", nn.Linear(5, 5))
    surgery.insert_after(relu, lambda x: surgery.call_module(surgery.next_node(x), name, x))
    assert list(surgery.clean(gm).state_dict()) == ["block.fc.weight", "block.fc.bias"]
    assert gm(INPUT).shape == (5,)


def test_rename_module_moves_it_and_names_the_node() -> None:
    gm, relu = relu_graph()
    for _ in range(2):
        surgery.replace(relu, call := surgery.call_module(relu, surgery.add_module(gm, "m", nn.Tanh()), relu.args[0]))
        surgery.rename_module(gm, call, "body.0")
        relu = call
    assert [name for name, m in gm.named_modules() if isinstance(m, nn.Tanh)] == ["body.0", "body.0_1"]
    assert (relu.target, relu.name) == ("body.0_1", "body_0_1")


def test_renumber_makes_equal_graphs_print_alike() -> None:
    gm, relu = relu_graph(w=torch.ones(1))
    surgery.emit(relu, ops.relu, relu.args[0])
    again = surgery.emit(relu, ops.mul, relu.args[0], surgery.get_attr(gm, "w", relu), origin=HERE)
    surgery.replace(relu, surgery.emit(relu, ops.add, again, surgery.get_attr(gm, "w", relu)))
    plain = graph_of(lambda x, w: ops.add(ops.mul(x, w), w), w=torch.ones(1))
    texts = [str(surgery.renumber(surgery.clean(g)).graph) for g in (gm, plain)]
    assert texts[0] == texts[1]
    assert node_of(gm, ops.mul).meta["origin"] == HERE


def test_what_is_a_tensor() -> None:
    gm, relu = relu_graph(w=torch.ones(1))
    w = surgery.get_attr(gm, "w", relu)
    assert surgery.tensors([relu, w, 3, None]) == [w]
    relu.meta["dtype"] = torch.float32
    assert surgery.tensors([relu, w]) == [relu, w]
