"""Which values of a converted graph are integers, and which ones a native program can hand on.

Folded constants are, and inputs where the user wants that; integer ops and their layers make them, and data movement
hands them on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph.annotation import activations
from fxquant.ops.op import OPS, op_of
from fxquant.qparams import FloatOutput
from fxquant.runtime.layer import LAYERS, Layer


def integer_values(gm: GraphModule) -> set[Node]:
    """The nodes of `gm` whose value is uint8."""
    found = {node for node in gm.graph.nodes if _makes_integers(gm, node)}
    return _handed_on(gm, found, lambda node: not _is_cell_state(gm, node))


def program_values(gm: GraphModule) -> set[Node]:
    """The nodes of `gm` whose value native programs hand on: integers, and floats of layers that take floats too."""
    return _handed_on(gm, {node for node in gm.graph.nodes if _makes_integers(gm, node) or _is_of_floats(gm, node)})


def _makes_integers(gm: GraphModule, node: Node) -> bool:
    layer, op = layer_of(gm, node), LAYERS.get(node.target)  # type: ignore[arg-type]
    if layer is not None:
        return layer.gives_integers
    if op is not None:
        return op.gives_integers and not any(isinstance(x, FloatOutput) for x in (*node.args, *node.kwargs.values()))
    return node.op in ("get_attr", "placeholder", "call_module") and "qparams" in node.meta


def _is_of_floats(gm: GraphModule, node: Node) -> bool:
    layer = layer_of(gm, node)
    return layer is not None and not (layer.takes_integers or layer.gives_integers)


def _is_cell_state(gm: GraphModule, node: Node) -> bool:
    """Whether the node takes what is real of several results of a layer: all but the first."""
    x = node.args[0] if node.target is ops.getitem else None
    if not isinstance(x, Node):
        return False
    layer = layer_of(gm, x)
    call: Any = x.target if layer is None else layer.integer_op
    return call in LAYERS and OPS[call].several and bool(node.args[1] != 0)


def _handed_on(gm: GraphModule, made: set[Node], wanted: Callable[[Node], bool] = lambda node: True) -> set[Node]:
    """These nodes, and those that only move what they give, of the `wanted` ones."""
    found = set(made)
    for node in gm.graph.nodes:
        row = op_of(node)
        inputs = activations(node) if row is not None and row.moves else []
        if inputs and found.issuperset(inputs) and wanted(node):
            found.add(node)
    return found


def layer_of(gm: GraphModule, node: Node) -> Layer | None:
    """The int8 layer that `node` calls, if it calls one."""
    module = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, Layer) else None
