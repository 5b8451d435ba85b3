"""Drawing -> networkx.DiGraph, for questions about the graph and for other tools."""

from __future__ import annotations

import io
from typing import Any

import networkx as nx
from torch import nn

from fxquant.arguments import typed
from fxquant.drawing.describe import drawing_of
from fxquant.drawing.model import Drawing, Value


@typed
def to_networkx(model: nn.Module | Drawing) -> nx.DiGraph[str]:
    """The graph of a model after any stage, each node under its name, in running order.

    Attributes of nodes: op, kind (int8, planned, float, observer, number, border), place and module (paths in the
    user's model), absorbed, source, code, reason, shape, dtype, scale, zero_point, arguments, weights, bytes,
    weight_bytes, statistics; of edges: shape, dtype, scale, zero_point, or qparams where there is one for each channel.
    All are text or numbers, and what is not known is left out, so GraphML and GEXF take them:
    networkx.write_graphml(to_networkx(model), path), or draw(model, "model.graphml").
    """
    drawing = model if isinstance(model, Drawing) else drawing_of(model)
    graph: nx.DiGraph[str] = nx.DiGraph(name=drawing.title)
    values = {node.name: _value(node.value) for node in drawing.nodes}
    for node in drawing.nodes:
        text = {
            "op": node.op,
            "kind": node.kind,
            "place": node.place,
            "module": node.box,
            "absorbed": " + ".join(node.absorbed),
            "source": node.source,
            "code": node.code,
            "reason": node.reason,
            "arguments": ", ".join(f"{k}={v}" for k, v in node.arguments.items()),
            "weights": ", ".join(f"{w.name} {w.shape} {w.dtype}" for w in node.weights),
            "statistics": node.statistics,
            "change": node.change,
        }
        sizes = {"bytes": node.bytes, "weight_bytes": sum(w.bytes for w in node.weights)}
        graph.add_node(node.name, **_known(text), **sizes, **values[node.name])
    for edge in drawing.edges:
        graph.add_edge(edge.tail, edge.head, **values[edge.tail])
    return graph


def exported(drawing: Drawing, format: str) -> bytes:
    """The content of a .graphml or .gexf file."""
    file = io.BytesIO()
    write: Any = {"graphml": nx.write_graphml, "gexf": nx.write_gexf}[format]
    write(to_networkx(drawing), file)
    return file.getvalue()


def _value(value: Value) -> dict[str, str | float]:
    text = _known({"shape": value.shape, "dtype": value.dtype, "qparams": value.note})
    if value.scale is None or value.zero_point is None:
        return {**text}
    return {**text, "scale": value.scale, "zero_point": value.zero_point}


def _known(text: dict[str, str]) -> dict[str, str]:
    """What is not empty. XML has no control characters."""
    return {k: "".join(c if c.isprintable() else " " for c in v) for k, v in text.items() if v}
