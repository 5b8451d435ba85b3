"""diff: what a pass added, removed and changed, also of models that it changed in place."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from fxquant import convert_fx, diff, draw, get_default_qconfig_mapping, prepare_fx
from fxquant.drawing.describe import drawing_of
from fxquant.drawing.model import Drawing


class Net(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(torch.relu(x) * 2) + x


def changes(drawing: Drawing) -> dict[str, list[str]]:
    return {c: [n.name for n in drawing.nodes if n.change == c] for c in ("added", "removed", "changed", "")}


def replaced(gm: GraphModule) -> GraphModule:
    """relu becomes sigmoid, in place."""
    relu = next(node for node in gm.graph.nodes if node.target is torch.relu)
    with gm.graph.inserting_before(relu):
        new = gm.graph.call_function(torch.sigmoid, relu.args)
    relu.replace_all_uses_with(new)
    gm.graph.erase_node(relu)
    gm.recompile()
    return gm


def test_of_a_model_with_itself_nothing_is_marked() -> None:
    gm = symbolic_trace(Net())
    merged = diff(gm, gm)
    assert changes(merged)[""] == [node.name for node in gm.graph.nodes]
    assert not any(edge.change for edge in merged.edges)


def test_added_removed_and_changed() -> None:
    gm = symbolic_trace(Net())
    before = drawing_of(gm)
    merged = diff(before, replaced(gm))
    assert changes(merged) == {
        "added": ["sigmoid"],
        "removed": ["relu"],
        "changed": ["mul"],
        "": ["x", "tanh", "add", "output"],
    }
    [mul] = [node for node in merged.nodes if node.name == "mul"]
    assert mul.before == ("reads: relu → sigmoid",)
    edges = {(edge.tail, edge.head): edge.change for edge in merged.edges}
    assert edges[("sigmoid", "mul")] == "added"
    assert edges[("relu", "mul")] == "removed"
    assert edges[("x", "add")] == ""


def test_renamed_nodes_are_found_again() -> None:
    gm = symbolic_trace(Net())
    other = copy.deepcopy(gm)
    for node in list(other.graph.nodes):
        if node.op == "call_function":
            node._rename(f"{node.name}_renamed")
    assert changes(diff(gm, other))["added"] == []
    assert changes(diff(gm, other))["removed"] == []


def test_a_name_that_means_something_else_now_is_kept_apart() -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 3

    first, second = symbolic_trace(Net()), symbolic_trace(Other())
    second.graph.find_nodes(op="call_function", target=torch.relu)
    next(n for n in second.graph.nodes if n.name == "mul")._rename("relu")
    names = [node.name for node in diff(first, second).nodes]
    assert len(set(names)) == len(names)


def test_stages_and_files_and_pictures(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 8, 8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    prepared = prepare_fx(net, get_default_qconfig_mapping(), (x,))
    prepared(x)
    quantized = convert_fx(prepared)
    merged = diff(prepared, quantized, tmp_path / "diff.html")
    assert {node.kind for node in merged.nodes if node.change == "removed"} >= {"observer", "planned"}
    assert "Int8Conv2d" in {node.op for node in merged.nodes if node.change == "added"}
    files = [draw(model, tmp_path / f"{i}.json") for i, model in enumerate((prepared, quantized))]
    assert diff(*files, tmp_path / "diff.dot") == merged
    assert "removed" in (tmp_path / "diff.dot").read_text()
