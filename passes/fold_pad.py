"""int8_conv2d(int8_pad(x, zero_point), padding=p) -> int8_conv2d(x, padding=p + pad)

What pads with the real number 0 is what a convolution's own padding reads, so the copy is spared.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import OPS, op_of


@register_pass(stage="fold")
def fold_pad(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row, pad = op_of(node), node.args[0] if node.args else None
        if (
            row is None
            or node.target is not ops.int8_conv2d
            or not isinstance(pad, Node)
            or pad.target is not ops.int8_pad
        ):
            continue
        arguments = row.bind(node)
        sides = _zero_padding(pad, arguments["x_zero_point"])
        if sides is not None:
            total = tuple(inner + outer for inner, outer in zip(arguments["padding"], sides, strict=True))
            arguments = {**arguments, "x": pad.args[0], "padding": total}
            surgery.replace(node, surgery.emit(node, row.call, sources=[node, pad], **arguments))
    return surgery.clean(gm)


def _zero_padding(pad: Node, zero_point: int) -> tuple[int, int, int, int] | None:
    """What `pad` adds at the top, left, bottom and right of images, if it is the real number 0."""
    arguments: dict[str, Any] = OPS[ops.int8_pad].bind(pad)
    amounts = arguments["pad"]
    if arguments["value_code"] != zero_point or len(amounts) > 4 or min(amounts) < 0:
        return None
    left, right, top, bottom = (*amounts, 0, 0)[:4]
    return top, left, bottom, right
