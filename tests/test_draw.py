"""draw: every node of the graph is in the drawing, in the colour of its value and in the box of its module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule

from fxquant.errors import ConfigError, MissingError
from fxquant.graph.annotation import Quant
from fxquant.graph.draw import COLORS, digraph, draw, node_kinds
from fxquant.graph.origin import Origin
from fxquant.observer import MinMaxObserver
from fxquant.ops.quantize import dequantize, quantize
from fxquant.qparams import QParams


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.observer = MinMaxObserver()
        self.act = nn.ReLU()
        self.register_buffer("weight", torch.ones(2, 2))


def small_graph() -> GraphModule:
    """x -> observer -> relu -> quantize -> flatten -> dequantize -> erf, and an addition of a weight."""
    root = Block()
    graph = Graph()
    x = graph.placeholder("x")
    observed = graph.call_module("observer", (x,))
    relu = graph.call_module("act", (observed,))
    relu.meta["origin"] = Origin("block.inner.act", nn.ReLU, nn.ReLU, "model.py:3")
    params = QParams(0.1, 10)
    quantized = graph.call_function(quantize, (relu, params))
    quantized.meta["origin"] = Origin("block.inner", Block, torch.relu)
    quantized.meta["absorbed"] = (quantized.meta["origin"], Origin("block.inner.act", nn.ReLU, nn.ReLU))
    flat = graph.call_method("flatten", (quantized, 1))
    flat.meta["origin"] = Origin("block", Block, "flatten")
    back = graph.call_function(dequantize, (flat, params))
    erf = graph.call_function(torch.erf, (back,))
    erf.meta["quant"] = Quant(int8=False, reason='no integer kernel for "erf"')
    weight = graph.get_attr("weight")
    graph.output(graph.call_function(torch.add, (erf, weight)))
    return GraphModule(root, graph)


def drawn_nodes(source: str) -> list[str]:
    return re.findall(r"^\s*(\w+) \[label=.* fillcolor=", source, re.MULTILINE)


def test_every_node_but_constants_is_drawn_once_and_every_edge() -> None:
    gm = small_graph()
    source = digraph(gm).source
    drawn = [node for node in gm.graph.nodes if node.op != "get_attr"]
    assert sorted(drawn_nodes(source)) == sorted(node.name for node in drawn)
    edges = set(re.findall(r"^\s*(\w+) -> (\w+)", source, re.MULTILINE))
    assert edges == {(source.name, n.name) for n in drawn for source in n.all_input_nodes if source in drawn}


def test_kinds_follow_the_values() -> None:
    kinds = {node.name: kind for node, kind in node_kinds(small_graph()).items()}
    assert kinds == {
        "x": "float",
        "observer": "observer",
        "act": "float",
        "quantize": "int8",
        "flatten": "int8",
        "dequantize": "float",
        "erf": "float",
        "add": "float",
        "output": "float",
    }


def test_a_node_tells_op_place_qparams_and_reason() -> None:
    source = digraph(small_graph()).source
    assert (
        rf'quantize [label="quantize\nblock.inner\n+ ReLU\nscale 0.1, zero point 10" fillcolor="{COLORS["int8"]}"]'
        in source
    )
    assert r'erf [label="erf\nfloat: no integer kernel for \"erf\""' in source
    assert r'add [label="add\n(weight)"' in source


def test_nodes_of_a_module_share_a_box() -> None:
    source = digraph(small_graph()).source
    boxes = re.findall(r'subgraph "?(cluster_[\w.]+)"? \{\n\s*(?:graph )?\[?label="?([\w.]+)"?', source)
    assert boxes == [("cluster_block", "block"), ("cluster_block.inner", "block.inner")]
    inner = source[source.index("cluster_block.inner") :]
    assert drawn_nodes(inner[: inner.index("}")]) == ["act", "quantize"]


def test_a_plain_traced_model_is_drawn() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() + 1

    source = digraph(torch.fx.symbolic_trace(Model())).source
    assert drawn_nodes(source) == ["x", "relu", "add", "output"]
    assert "relu -> add" in source


def test_dot_files_need_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    gm = small_graph()
    path = draw(gm, tmp_path / "pictures" / "graph.dot")
    assert path.read_text() == digraph(gm).source
    with pytest.raises(MissingError, match="apt-get install graphviz"):
        draw(gm, tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.svg, \.png, \.pdf, \.dot"):
        draw(small_graph(), tmp_path / "graph.txt")


def test_svg_holds_every_label(tmp_path: Path) -> None:
    gm = small_graph()
    try:
        path = draw(gm, tmp_path / "graph.svg")
    except MissingError as error:
        pytest.skip(str(error))
    assert re.findall(r"<title>(\w+)</title>", path.read_text()).count("quantize") == 1
    assert path.read_text().count('<g id="node') == len(gm.graph.nodes) - 1  # the weight
