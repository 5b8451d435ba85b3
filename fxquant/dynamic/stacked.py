"""All layers and directions of an nn.LSTM, GRU or RNN as a graph, which runs as one native program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.fx import Graph, Node

from fxquant import ops
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region


def region_of(layers: nn.Module, names: Sequence[str], directions: int, states: Sequence[bool]) -> Int8Region | None:
    """x [T, B, I] and initial states [len(names), B, H] -> y [T, B, directions * H] and the last h and c of all layers.

    `names` are those of the layers in `layers`, in torch's order; `states`: whether h0 and whether c0 is given. None if
    a program cannot have one of the layers.
    """
    made = [layers.get_submodule(name) for name in names]
    if not all(isinstance(layer, Layer) and layer.plannable for layer in made):
        return None
    graph = Graph()
    x = graph.placeholder("x")
    given = [graph.placeholder(name) if there else None for name, there in zip(("h0", "c0"), states, strict=True)]
    last: tuple[list[Node], list[Node]] = ([], [])
    for first in range(0, len(names), directions):
        outputs = []
        for index in range(first, first + directions):
            own = [None if s is None else graph.call_function(ops.getitem, (s, (index,))) for s in given]
            both = graph.call_module(names[index], (x, *own))
            y, c = (graph.call_function(ops.getitem, (both, i)) for i in range(2))
            outputs.append(y)
            end = slice(0, 1) if index > first else slice(-1, None)
            last[0].append(graph.call_function(ops.getitem, (y, (end,))))
            last[1].append(graph.call_function(ops.unsqueeze, (c, 0)))
        x = _cat(graph, outputs, 2)
    graph.output((x, *(_cat(graph, each, 0) for each in last)))
    return Int8Region(layers, graph, Int8Region.__name__)


def _cat(graph: Graph, tensors: list[Node], dim: int) -> Any:
    return graph.call_function(ops.cat, (tensors, dim)) if len(tensors) > 1 else tensors[0]
