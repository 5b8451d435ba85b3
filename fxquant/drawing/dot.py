"""Drawing -> text in Graphviz's language, and from there, by the program `dot`, to pictures."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from fxquant.drawing.heat import Heat
from fxquant.drawing.legend import legend
from fxquant.drawing.model import Drawing, DrawnNode
from fxquant.drawing.style import (
    EDGE,
    GRAPH,
    NODE,
    box_attributes,
    edge_attributes,
    node_attributes,
    quoted,
    title_of,
    value_attributes,
)
from fxquant.errors import MissingError, UnsupportedError

GET_DOT = "Debian and Ubuntu: apt-get install graphviz; macOS: brew install graphviz"


def dot_source(drawing: Drawing, heat: Heat | None = None) -> str:
    """A digraph with a node for each node, under its name, and a cluster for each box, under its path."""
    lines = [f"digraph {title_of(drawing)} {{", f"graph [{GRAPH}]", f"node [{NODE}]", f"edge [{EDGE}]"]
    read = {edge.tail for edge in drawing.edges if edge.labelled}
    values = {node.name: text for node in drawing.nodes if node.name in read and (text := value_attributes(node))}
    lines += _content(drawing, "", heat, values)
    led: set[str] = set()  # whose values have a way to what is written on it
    for edge in drawing.edges:
        tail, head, attributes = quoted(edge.tail), quoted(edge.head), edge_attributes(edge)
        if edge.labelled and edge.tail in values:
            if edge.tail not in led:
                lines.append(f"{tail} -> {_value(edge.tail)} [{' '.join(('arrowhead=none', attributes)).strip()}]")
                led.add(edge.tail)
            tail = _value(edge.tail)
        lines.append(f"{tail} -> {head}" + (f" [{attributes}]" if attributes else ""))
    return "\n".join([*lines, f"label={legend(drawing, heat)} labelloc=t", "}"]) + "\n"


def _value(name: str) -> str:
    """The name of what is written on the way of a node's value."""
    return quoted(f"value:{name}")


def _content(drawing: Drawing, box: str, heat: Heat | None, values: Mapping[str, str]) -> list[str]:
    """What stands in a box: its nodes and what is written on the ways of their `values`, then the boxes within."""
    lines = []
    for node in drawing.nodes:
        if node.box == box:
            lines.append(f"{quoted(node.name)} [{_node(node, heat)}]")
            lines += [f"{_value(node.name)} [{values[node.name]}]"] if node.name in values else []
    for inner in drawing.boxes:
        if inner.parent == box:
            lines += [f"subgraph {quoted('cluster_' + inner.path)} {{", f"graph [{box_attributes(inner)}]"]
            lines += [*_content(drawing, inner.path, heat, values), "}"]
    return lines


def _node(node: DrawnNode, heat: Heat | None) -> str:
    if heat is None:
        return node_attributes(node)
    known = node.name in heat.values
    return node_attributes(node, heat.color(node.name), [heat.text(node.name)] if known else [])


def rendered(source: str, format: str) -> bytes:
    """The picture of `source`, of a format that `dot` knows.

    Raises MissingError if the program is not there, UnsupportedError if it fails.
    """
    try:
        result = subprocess.run(["dot", f"-T{format}"], input=source.encode(), capture_output=True, check=True)
    except FileNotFoundError as error:
        raise MissingError(
            f"drawing a .{format} needs Graphviz's program `dot` ({GET_DOT}); .dot and .html work without"
        ) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise UnsupportedError(f"`dot` cannot write .{format}: {said}; .dot and .html need no program") from error
    return result.stdout
