"""to_networkx: the graph of a model with all that is drawn as attributes, and files for other tools."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
import torch
from torch import nn

from fxquant import convert_fx, draw, get_default_qconfig_mapping, prepare_fx, to_networkx


def models() -> tuple[nn.Module, nn.Module]:
    x = torch.randn(2, 3, 8, 8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    prepared = prepare_fx(net, get_default_qconfig_mapping(), (x,))
    prepared(x)
    return prepared, convert_fx(prepared)


def test_nodes_and_edges_carry_what_is_drawn() -> None:
    graph = to_networkx(models()[1])
    assert nx.is_directed_acyclic_graph(graph)
    conv = next(data for _, data in graph.nodes(data=True) if data["op"] == "Int8Conv2d")
    assert conv["kind"] == "int8"
    assert conv["absorbed"] == "Conv2d + ReLU"
    assert conv["shape"] == "2x4x6x6"
    assert conv["bytes"] == 2 * 4 * 6 * 6
    assert isinstance(conv["scale"], float)
    assert 0 <= conv["zero_point"] <= 255
    for tail, _, data in graph.edges(data=True):
        assert data == {key: graph.nodes[tail][key] for key in data}
    order = {name: i for i, name in enumerate(graph)}
    assert all(order[tail] < order[head] for tail, head in graph.edges)  # running order


def test_questions_about_the_graph_can_be_asked() -> None:
    graph = to_networkx(models()[1])
    [start] = [name for name, data in graph.nodes(data=True) if data["op"] == "input"]
    [end] = [name for name, data in graph.nodes(data=True) if data["op"] == "output"]
    dominators = nx.immediate_dominators(graph, start)
    assert graph.nodes[dominators[end]]["op"] == "Int8Linear"


@pytest.mark.parametrize("format", ["graphml", "gexf"])
def test_files_hold_the_same_graph(tmp_path: Path, format: str) -> None:
    for model in models():
        graph = to_networkx(model)
        read = {"graphml": nx.read_graphml, "gexf": nx.read_gexf}[format](draw(model, tmp_path / f"net.{format}"))
        assert set(read.edges) == set(graph.edges)
        for name, data in graph.nodes(data=True):
            assert {key: read.nodes[name][key] for key in data} == data
