"""Which nodes run in one precision.

relu(conv(x)), conv(x) + r, …       one kernel computes both, so the value between them has no qparams
silu(conv(x)), gelu(linear(x)) …    the epilogue applies the table, which costs next to nothing
conv(pad(x))                        the convolution pads
reshape(permute(x)) …               whether one copies depends on the other; so does its time
chunk and the tensors that it returns
"""

from __future__ import annotations

from networkx.utils import UnionFind
from torch.fx import GraphModule, Node

from fxquant.graph.annotation import is_several, is_table, quant_of
from fxquant.graph.watching import readers_of
from fxquant.ops.op import op_of

Unit = tuple[Node, ...]


def units_of(gm: GraphModule) -> list[Unit]:
    """The nodes of a prepared graph that may run in int8, in groups that run in one precision, in running order."""
    together: UnionFind[Node] = UnionFind()
    for node in gm.graph.nodes:
        if quant_of(node).int8:
            together.union(node, *(reader for reader in readers_of(node) if _inseparable(node, reader)))
    units = [tuple(sorted(unit)) for unit in together.to_sets()]
    return sorted(units, key=lambda unit: unit[0])


def _inseparable(node: Node, reader: Node) -> bool:
    if not quant_of(reader).int8:
        return False
    if is_several(node):
        return True
    if len(readers_of(node)) > 1:
        return False
    first, second = op_of(node), op_of(reader)
    if quant_of(node).absorbed_by == reader.name or first is None or second is None:
        return True
    return bool(
        (first.weight and is_table(reader)) or (first.moves and second.moves) or (first.name == "pad" and second.weight)
    )
