"""lookup(int8_conv2d(x, …), table) -> int8_conv2d(x, …, table=table), and likewise for linear.

The epilogue of the op applies the table to the bytes that it is about to store.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of

_WITH_TABLE = (
    *(ops.int8_conv2d, ops.int8_conv3d, ops.int8_conv_transpose2d, ops.int8_conv_transpose3d),
    ops.int8_linear,
)


@register_pass(stage="fold")
def fold_table(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is not ops.lookup:
            continue
        x, table = node.args
        row = op_of(x)
        if row is None or x.target not in _WITH_TABLE or len(x.users) > 1 or _per_channel(gm, table):
            continue
        arguments = row.bind(x)
        if arguments["table"] is None:
            new = surgery.emit(node, row.call, sources=[x, node], **{**arguments, "table": table})
            surgery.replace(node, new)
    return surgery.clean(gm)


def _per_channel(gm: GraphModule, table: Node) -> bool:
    return surgery.fetch(gm, table).dim() != 1
