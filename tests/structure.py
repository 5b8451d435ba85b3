"""A graph as text without its numbers, so that goldens hold on every machine and torch."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.graph.extract import inlined
from fxquant.graph.surgery import absorbed_origins
from fxquant.ops.op import op_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region


def structure(gm: GraphModule) -> str:
    """A line a node: its name, what computes it, the values it reads, and what it absorbed of the model."""
    gm = inlined(gm, Int8Region)
    return "".join(_line(gm, node) for node in gm.graph.nodes if node.op != "get_attr")


def _line(gm: GraphModule, node: Node) -> str:
    inputs = ", ".join(n.name for n in node.all_input_nodes if n.op != "get_attr")
    absorbed = " + ".join(origin.spelling_name for origin in absorbed_origins(node))
    return f"{node.name} = {_computes(gm, node)}({inputs}){f'  # {absorbed}' if absorbed else ''}\n"


def _computes(gm: GraphModule, node: Node) -> str:
    if node.op == "call_module":
        module = gm.get_submodule(str(node.target))
        return f"{type(module).__name__}{_sizes(module) if isinstance(module, Layer) else ''}"
    row = op_of(node)
    return row.name if row else f"{node.op} {node.target}"


def _sizes(layer: Layer) -> str:
    weight = layer.constant("weight")
    names = ("stride", "padding", "groups")
    settings = [f"{name}={layer.constant(name)}" for name in names if layer.constant(name) is not None]
    return f"[{', '.join([str(list(weight.shape)), *settings])}]" if weight is not None else ""
