"""diff: what a pass added, removed and changed, also of models that it changed in place."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace
from typer.testing import CliRunner

from fxquant import convert_fx, diff, draw, get_default_qconfig_mapping, prepare_fx, save
from fxquant.cli import app
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


def test_a_layer_that_became_another_op_is_one_changed_node() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    prepared = prepare_fx(net, get_default_qconfig_mapping(), (torch.randn(2, 3, 8, 8),))
    prepared(torch.randn(2, 3, 8, 8))
    merged = diff(prepared, convert_fx(prepared))
    [conv] = [node for node in merged.nodes if node.place == "0"]
    assert (conv.op, conv.change) == ("Int8Conv2d", "changed")
    assert "op: conv2d → Int8Conv2d" in conv.before
    assert "computes: Conv2d + BatchNorm2d → Conv2d + BatchNorm2d + ReLU" in conv.before
    assert [node.op for node in merged.nodes if node.change == "removed" and node.kind != "observer"] == ["relu"]


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
    assert "Int8Conv2d" in {node.op for node in merged.nodes if node.change == "changed"}
    files = [draw(model, tmp_path / f"{i}.json") for i, model in enumerate((prepared, quantized))]
    assert diff(*files, tmp_path / "diff.dot") == merged
    assert "removed" in (tmp_path / "diff.dot").read_text()


def test_snapshots_tell_each_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_SNAPSHOTS", str(tmp_path))
    x = torch.randn(2, 3, 8, 8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    prepared = prepare_fx(net, get_default_qconfig_mapping(), (x,))
    prepared(x)
    convert_fx(prepared)
    files = sorted(tmp_path.glob("*.json"))
    assert [int(file.name[:3]) for file in files] == list(range(len(files)))
    [fused] = [i for i, file in enumerate(files) if file.name.endswith("_fuse_fuse_batch_norm.json")]
    assert [n.op for n in diff(files[fused - 1], files[fused]).nodes if n.change == "removed"] == ["BatchNorm2d"]
    [observed] = [i for i, file in enumerate(files) if file.name.endswith("_observe_observe_activations.json")]
    assert {n.kind for n in diff(files[observed - 1], files[observed]).nodes if n.change == "added"} == {"observer"}


def test_the_command_draws_models_and_differences(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Linear(4, 4), nn.ReLU())\n"
    )
    run = CliRunner()
    for stage in ("fused", "prepared", "converted"):
        out = str(tmp_path / f"{stage}.json")
        result = run.invoke(app, ["draw", f"{tmp_path}/net.py:build", out, "--input", "2x4", "--stage", stage])
        assert result.output.split() == [out]
    assert {node.op for node in Drawing.load(tmp_path / "fused.json").nodes} >= {"linear", "relu"}
    result = run.invoke(app, ["diff", *(str(tmp_path / f"{s}.json") for s in ("prepared", "converted", "d"))])
    assert result.exit_code == 0
    assert any(node.change == "added" for node in Drawing.load(tmp_path / "d.json").nodes)
    heated = ["draw", f"{tmp_path}/net.py:build", str(tmp_path / "h.dot"), "--input", "2x4", "--heat", "time"]
    assert run.invoke(app, heated).exit_code == 0
    assert "time " in (tmp_path / "h.dot").read_text()


def test_the_command_draws_saved_models(tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    prepared = prepare_fx(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), get_default_qconfig_mapping(), (x,))
    prepared(x)
    save(convert_fx(prepared), tmp_path / "net.fxq")
    result = CliRunner().invoke(app, ["draw", str(tmp_path / "net.fxq"), str(tmp_path / "net.json")])
    assert result.exit_code == 0, result.output
    [linear] = [node for node in Drawing.load(tmp_path / "net.json").nodes if node.op == "Int8Linear"]
    assert (linear.kind, linear.place, linear.absorbed) == ("int8", "0", ("Int8Linear", "ReLU"))
    assert linear.value.dtype != "uint8"  # nothing reads integers of it
