"""Colours and labels: what Graphviz and the page agree on."""

from __future__ import annotations

import html
from collections.abc import Iterable

from fxquant.drawing.model import Box, Drawing, DrawnNode, Edge

FONT = "Arial"  # whose widths Graphviz knows, and which browsers and `dot` have under this or another name
# The fill of each of KINDS, and of what a diff shows, all light enough for black text.
COLORS = {
    "int8": "#c8e9bf",
    "planned": "#eef8ea",
    "float": "#ffd9bd",
    "observer": "#cfe0fc",
    "number": "#f6f6f2",
    "border": "#e2e2e6",
}
CHANGES = {"added": "#a9dfa6", "removed": "#f7b3ac", "changed": "#ffe58a", "": "#f2f2f2"}
# From cool to hot, equal steps of lightness (after ColorBrewer's sequential schemes, Harrower & Brewer 2003).
HEAT = ("#fff8e1", "#ffecb8", "#ffdf8e", "#ffcb69", "#ffb14e", "#fb9440", "#f57f42", "#f06d44", "#e85d4a")
MUTED = "#5a5a5a"

# nslimit bounds the steps by which Graphviz moves nodes to the left and right: that many for each node are enough.
GRAPH = (
    f'fontname="{FONT}" fontsize=11 fontcolor="{MUTED}" color="#b8b8b8" style=rounded labeljust=l '
    "ranksep=0.18 nodesep=0.2 nslimit=6"
)
NODE = f'shape=box style="filled,rounded" fontname="{FONT}" fontsize=11 color="#8a8a8a" margin="0.12,0.06"'
EDGE = f'fontname="{FONT}" fontsize=9 fontcolor="{MUTED}" color="#8a8a8a" arrowsize=0.6'


def quoted(text: str) -> str:
    """As a string of Graphviz's language, which has no control characters."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def label(title: str, lines: Iterable[str] = ()) -> str:
    """An HTML-like label: a bold title, small lines below."""
    small = "".join(f'<br/><font point-size="9">{_escaped(line)}</font>' for line in lines)
    return f"<<b>{_escaped(title)}</b>{small}>"


def node_lines(node: DrawnNode) -> list[str]:
    """What stands in a node below its op: its place, what it absorbed of the user's calls, why it is float."""
    if node.kind == "observer":
        return [f"{h.low:.4g} to {h.high:.4g}" for h in node.histograms[:1]]
    lines = [node.place]
    if len(node.absorbed) > 1:
        lines.append(" + ".join(node.absorbed))
    elif not node.place:
        lines.append(node.name if node.name.lower() != node.op.lower() else "")
    lines += [f"float: {line}" if i == 0 else line for i, line in enumerate(_wrapped(node.reason))]
    return [line for line in lines if line]


def node_attributes(node: DrawnNode, color: str = "", lines: Iterable[str] = ()) -> str:
    """`color` and further `lines` come from heat."""
    is_diff = bool(node.change)
    fill = color or (CHANGES[node.change] if is_diff else COLORS[node.kind])
    dashes = ' style="filled,rounded,dashed"' if node.kind == "planned" else ""
    kinds = " ".join(filter(None, (node.kind, node.change)))
    text = label(node.op, [*node_lines(node), *lines])
    return f'label={text} fillcolor="{fill}" class="{kinds}"{dashes}'


def edge_attributes(edge: Edge) -> str:
    """The colour of an edge in a diff."""
    colors = {"added": "#2e8b2e", "removed": "#c0392b"}
    colored = f'color="{colors[edge.change]}" penwidth=1.5 ' if edge.change in colors else ""
    return colored + (f'class="{edge.change}"' if edge.change else "")


def value_attributes(node: DrawnNode) -> str:
    """What is written on the way of a node's value to its first reader, or "".

    It is a node of its own, in the box of the node that gives the value: Graphviz lays labels of edges over borders.
    """
    lines = "\\n".join(quoted(line)[1:-1] for line in node.value.lines)
    shape = 'shape=plaintext style="" fontsize=9 margin="0.03,0.01" width=0 height=0 class="value"'
    return f'{shape} fontcolor="{MUTED}" label="{lines}"' if lines else ""


def box_attributes(box: Box) -> str:
    name = box.path.removeprefix(box.parent).removeprefix(".")
    return f"label={quoted(name)}"


def title_of(drawing: Drawing) -> str:
    return quoted(drawing.title)


def _escaped(text: str) -> str:
    return html.escape(printable(text), quote=False)


def printable(text: str) -> str:
    """Graphviz's language and XML have no control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def _wrapped(text: str, width: int = 40) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
