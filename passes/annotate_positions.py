"""torch.arange(n)[:, None] * inv_freq   ->   stays float: of activations and layers, nothing is in it

So are distances, angles and masks: what is made of sizes, indices and numbers of the model alone. They are small, and 8
bits of an angle up to 512 tell nothing of its cosine. Where they meet activations they are rounded like these. Data
that only moves, and rows of an embedding, go where their neighbours do.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from fxquant.graph.annotation import leave_float
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_name, op_of

_INDICES = (torch.int64, torch.int32, torch.bool)
_ABOUT = {"size", "shape", "dim", "ndim", "numel", "__len__", "len", "device", "dtype"}  # of a tensor, not its numbers


@register_pass(stage="annotate")
def annotate_positions(gm: GraphModule) -> GraphModule:
    known: set[Node] = set()  # what depends on no activation
    for node in gm.graph.nodes:
        if not _is_known(gm, node, known):
            continue
        known.add(node)
        row, match = op_of(node), node.meta.get("qconfig")
        computes = row is not None and not row.moves and node.meta.get("dtype") is torch.float32
        if computes and match is not None and match.qconfig is not None:
            leave_float(node, "it is made of sizes, indices and constants: no activation is in it")
    return gm


def _is_known(gm: GraphModule, node: Node, known: set[Node]) -> bool:
    if node.op == "placeholder":
        return node.meta.get("dtype") in _INDICES
    row = op_of(node)
    has_weights = row is not None and (row.weight is not None or row.rows is not None)
    if node.op in ("call_module", "output") or has_weights:
        return False
    asked = node.args[1] if node.target is getattr else op_name(gm, node)
    return asked in _ABOUT or all(x in known for x in node.all_input_nodes)
