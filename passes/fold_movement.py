"""move(dequantize(x, q)) -> dequantize(move(x), q)  for every op that only moves data.

Moving commutes with dequantize, element by element; the dequantize then meets the next quantize and both vanish. The
number that pad or masked_fill adds becomes its code: pad(dequantize(x, q), v) -> dequantize(int8_pad(x, code(v)), q),
or dequantize(pad(x, code(v)), q) if the amounts are found while the model runs, as TensorFlow's "same" padding is.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import Op, op_of
from fxquant.qparams import QParams


@register_pass(stage="fold")
def fold_movement(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is not None and row.moves and quant_of(node).int8:
            _commute(row, node)
    return surgery.clean(gm)


def _commute(row: Op, node: Node) -> None:
    sources = activations(node)
    q = _common_qparams(sources)
    if q is None:
        return
    integers = {source: source.args[0] for source in sources}
    arguments = {name: _swap(value, integers) for name, value in row.bind(node).items()}
    if row.name == "pad" and arguments["mode"] == "constant":
        code = qparams.code(arguments["value"], q)
        if any(isinstance(amount, Node) for amount in arguments["pad"]):
            moved = surgery.emit(node, ops.pad, arguments["x"], arguments["pad"], "constant", code, sources=[node])
        else:
            moved = surgery.emit(node, ops.int8_pad, arguments["x"], arguments["pad"], code, sources=[node])
    elif row.name == "masked_fill":
        code = qparams.code(arguments["value"], q)
        moved = surgery.emit(node, row.call, arguments["x"], arguments["mask"], code, sources=[node])
    else:
        moved = surgery.emit(node, row.call, sources=[node], **arguments)
    if row.several:
        for item in list(node.users):
            part = surgery.emit(item, ops.getitem, moved, item.args[1], sources=[item])
            surgery.replace(item, surgery.emit(item, ops.dequantize, part, q))
    else:
        surgery.replace(node, surgery.emit(node, ops.dequantize, moved, q))


def _common_qparams(sources: list[Node]) -> QParams | None:
    if not sources or any(source.target is not ops.dequantize for source in sources):
        return None
    found = [source.args[1] for source in sources]
    return found[0] if all(q == found[0] for q in found) else None  # type: ignore[return-value]


def _swap(value: Any, integers: dict[Node, Any]) -> Any:
    if isinstance(value, Node):
        return integers.get(value, value)
    return tuple(_swap(v, integers) for v in value) if isinstance(value, (tuple, list)) else value
