"""embedding(indices, dequantize(w, s))        -> rows_embedding(indices, rows, scale, zero_point, width)
embedding_bag(indices, dequantize(w, s), …) -> rows_embedding_bag(indices, rows, scale, zero_point, width, …)

with rows = w - quant_min, zero_point = z - quant_min, and two codes in a byte if they have no more than 4 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.integer.embedding import packed
from fxquant.ops.op import op_of
from fxquant.qparams import QParams

_FOUR_BITS = 15


@register_pass(stage="fold")
def fold_rows(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        table = row.bind(node)[row.rows] if row is not None and row.rows and quant_of(node).rows else None
        if isinstance(table, Node) and table.target is ops.dequantize:
            _fold(gm, node, table)
    return surgery.clean(gm)


def _fold(gm: GraphModule, node: Node, table: Node) -> None:
    weight, q = table.args
    assert isinstance(weight, Node)
    assert isinstance(q, QParams)
    codes = surgery.fetch(gm, weight)
    width = codes.shape[1]
    tensors = rows_of(codes, q, _numbers(gm, q.scale), _numbers(gm, q.zero_point))
    constants = {name: surgery.own_constant(gm, node, name, tensor) for name, tensor in tensors.items()}
    arguments: dict[str, Any] = dict(op_of(node).bind(node), width=width, **constants)  # type: ignore[union-attr]
    del arguments["weight"]
    op = ops.rows_embedding if node.target is ops.embedding else ops.rows_embedding_bag
    surgery.replace(node, surgery.emit(node, op, sources=[node], **arguments))


def rows_of(codes: Tensor, q: QParams, scale: Tensor, zero_point: Tensor) -> dict[str, Tensor]:
    """The tensors of rows_embedding for integers [V, E] under `q`, with one float32 scale and zero point, or V."""
    # uint8 holds the difference of any two 8-bit integers.
    rows = (codes.int() - q.quant_min).to(torch.uint8)
    return {
        "rows": packed(rows) if q.quant_max - q.quant_min <= _FOUR_BITS else rows,
        "scale": scale.expand(len(codes)).contiguous(),
        "zero_point": zero_point.expand(len(codes)) - q.quant_min,
    }


def _numbers(gm: GraphModule, value: Any) -> Tensor:
    """One float32 number, or one for each row."""
    return surgery.fetch(gm, value).float() if isinstance(value, Node) else torch.tensor([float(value)])
