"""Which values of a lowered graph are integers, and which ones a native program can hand on.

Folded constants are, and inputs where the user wants that; int8 layers make them, and data movement hands them on.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.graph.annotation import activations
from fxquant.ops.op import op_of
from fxquant.runtime.layer import Layer


def integer_values(gm: GraphModule) -> set[Node]:
    """The nodes of `gm` whose value is uint8."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        layer, row = layer_of(gm, node), op_of(node)
        if node.op in ("get_attr", "placeholder") or (node.op == "call_module" and layer is None):
            makes = "qparams" in node.meta
        elif layer is not None:
            makes = layer.gives_integers
        else:
            inputs = activations(node) if row is not None and row.moves else []
            makes = bool(inputs) and all(x in found for x in inputs)
        if makes:
            found.add(node)
    return found


def program_values(gm: GraphModule) -> set[Node]:
    """The nodes of `gm` whose value native programs hand on: integers, and floats of layers that take floats too."""
    found = integer_values(gm)
    for node in gm.graph.nodes:
        layer, row = layer_of(gm, node), op_of(node)
        if layer is not None:
            makes = not (layer.takes_integers or layer.gives_integers)
        else:
            inputs = activations(node) if row is not None and row.moves else []
            makes = bool(inputs) and all(x in found for x in inputs)
        if makes:
            found.add(node)
    return found


def layer_of(gm: GraphModule, node: Node) -> Layer | None:
    """The int8 layer that `node` calls, if it calls one."""
    module = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, Layer) else None
