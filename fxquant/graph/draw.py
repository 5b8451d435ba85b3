"""A picture of the graph after any stage: what runs in int8, what stays float, and where in the user's model it is.

green int8, orange float, blue observer; a box around the nodes of each of the user's modules. Weights and other
constants are named in the node that reads them.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import graphviz
import torch
from torch.fx import GraphModule, Node

from fxquant.errors import ConfigError, MissingError
from fxquant.graph.annotation import quant_of
from fxquant.graph.extract import inlined
from fxquant.graph.origin import origin_of
from fxquant.graph.surgery import absorbed_origins
from fxquant.ops.op import op_name
from fxquant.qparams import QParams
from fxquant.runtime.region import Int8Region

FORMATS = ("svg", "png", "pdf", "dot")
COLORS = {"int8": "#cdeac0", "float": "#ffd6ba", "observer": "#cfe0fc"}
GET_DOT = "Debian and Ubuntu: apt-get install graphviz; macOS: brew install graphviz"

Placed = tuple[tuple[str, ...], Node]


def draw(gm: GraphModule, path: str | Path) -> Path:
    """Writes the drawing of `gm` to `path`, whose suffix is one of .svg, .png, .pdf and .dot. Returns the path.

    Raises ConfigError for another suffix, and MissingError if the program `dot` is not there (.dot does not need it).
    """
    path = Path(path)
    format = path.suffix[1:].lower()
    if format not in FORMATS:
        raise ConfigError(f"cannot draw to {path}: the suffix must be one of {', '.join('.' + f for f in FORMATS)}")
    drawing = digraph(gm)
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "dot":
        path.write_text(drawing.source)
        return path
    try:
        path.write_bytes(drawing.pipe(format=format))
    except graphviz.ExecutableNotFound as error:
        message = f"drawing a .{format} needs Graphviz's program `dot` ({GET_DOT}); .dot works without"
        raise MissingError(message) from error
    return path


def digraph(gm: GraphModule) -> graphviz.Digraph:
    """The drawing in Graphviz's language: one node for each fx node but the get_attr ones, under its name.

    Of regions that run as one, the nodes within are shown.
    """
    gm = inlined(gm, Int8Region)
    kinds = node_kinds(gm)
    drawing = graphviz.Digraph(
        gm.__class__.__name__,
        graph_attr={"fontname": "Helvetica", "fontsize": "11", "color": "#999999", "ranksep": "0.25"},
        node_attr={"shape": "box", "style": "filled,rounded", "fontname": "Helvetica", "fontsize": "10"},
        edge_attr={"color": "#555555", "arrowsize": "0.6"},
    )
    labels = {node: _label(gm, node) for node in kinds}
    _place(drawing, [(_module_path(node), node) for node in kinds], 0, kinds, labels)
    for node in kinds:
        for source in node.all_input_nodes:
            if source in kinds:
                drawing.edge(source.name, node.name)
    return drawing


def node_kinds(gm: GraphModule) -> dict[Node, str]:
    """For each node but the get_attr ones a key of COLORS: what its value is.

    Only integer kernels and data movement accept int8 values, so whatever reads one and is no dequantize is int8 too.
    """
    kinds: dict[Node, str] = {}
    for node in gm.graph.nodes:
        if node.op != "get_attr":
            kinds[node] = _kind(gm, node, any(kinds.get(source) == "int8" for source in node.all_input_nodes))
    return kinds


def _kind(gm: GraphModule, node: Node, reads_int8: bool) -> str:
    if node.op in ("placeholder", "output"):
        return "float"
    module = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
    if hasattr(module, "calculate_qparams"):
        return "observer"
    if getattr(module, "at_boundary", False):
        return "float" if reads_int8 else "int8"
    name = op_name(gm, node)
    return "int8" if name == "quantize" or (reads_int8 and name != "dequantize") else "float"


def _label(gm: GraphModule, node: Node) -> str:
    origin = origin_of(node)
    lines = [op_name(gm, node)]
    if origin is not None and origin.module_path:
        lines.append(origin.module_path)
    if absorbed := absorbed_origins(node)[1:]:
        lines.append("+ " + ", ".join(o.spelling_name for o in absorbed))
    constants = [str(source.target).rpartition(".")[2] for source in node.all_input_nodes if source.op == "get_attr"]
    if constants:
        lines.append(f"({', '.join(constants)})")
    lines += [_qparams_text(q) for q in _qparams(node)]
    if reason := quant_of(node).reason:
        lines.append(f"float: {reason}")
    text: str = graphviz.escape("\n".join(lines))
    return text.replace("\n", r"\n")


def _qparams(node: Node) -> list[QParams]:
    """The qparams among the node's arguments, or else those of its value: at most one."""
    found = [a for a in (*node.args, *node.kwargs.values(), node.meta.get("qparams")) if isinstance(a, QParams)]
    return found[:1]


def _qparams_text(q: QParams) -> str:
    if q.axis is not None:
        return "per channel"
    return f"scale {_number(q.scale)}, zero point {_number(q.zero_point)}"


def _number(value: Any) -> str:
    if isinstance(value, Node):
        return value.name
    value = value.item() if isinstance(value, torch.Tensor) else value
    return f"{value:.4g}"


def _module_path(node: Node) -> tuple[str, ...]:
    """The module whose box the node is drawn in: for a called module, its parent."""
    origin = origin_of(node)
    if origin is None:
        return ()
    return tuple(origin.scope.split(".")) if origin.scope else ()


def _place(
    graph: graphviz.Digraph, placed: list[Placed], depth: int, kinds: dict[Node, str], labels: dict[Node, str]
) -> None:
    """Draws nodes whose paths agree up to `depth`; those that agree further share a box, once there are two."""
    groups: dict[tuple[str, ...], list[Placed]] = {}
    for path, node in placed:
        groups.setdefault(path[: depth + 1] if len(path) > depth else (), []).append((path, node))
    for name, members in groups.items():
        if not name or len(members) == 1:
            for _, node in members:
                graph.node(node.name, labels[node], fillcolor=COLORS[kinds[node]])
            continue
        common = _common_prefix([path for path, _ in members])
        with graph.subgraph(name=f"cluster_{'.'.join(common)}", graph_attr={"label": ".".join(common)}) as box:
            _place(box, members, len(common), kinds, labels)


def _common_prefix(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """What all paths start with: where the first and the last in order still agree."""
    return tuple(a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(min(paths), max(paths), strict=False)))
