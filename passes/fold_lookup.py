"""quantize(f(dequantize(x, p)), q) -> lookup(x, table)  for every op f that works element by element.

table[i] = quantize(f(dequantize(i, p)), q) is computed with the op's own meaning, so it is exact. A parameter that
differs a channel (PReLU) gives one table a channel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, is_table
from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import Op, op_of
from fxquant.qparams import CODES, QParams


@register_pass(stage="fold")
def fold_lookup(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is ops.quantize and isinstance(node.args[0], Node):
            _fold(gm, node, node.args[0])
    return surgery.clean(gm)


def _fold(gm: GraphModule, quantize: Node, function: Node) -> None:
    row = op_of(function)
    if row is None or not is_table(row, function) or len(function.users) > 1:
        return
    (real,) = activations(function)
    if real.target is not ops.dequantize:
        return
    x, p = real.args
    table = _table(gm, row, function, real, p, quantize.args[1])  # type: ignore[arg-type]
    origin = origin_of(function)
    name = f"{origin.module_path}.table" if origin and origin.module_path else "table"
    constant = surgery.constant(gm, name, table, quantize)
    surgery.replace(quantize, surgery.emit(quantize, ops.lookup, x, constant, sources=[function]))


def _table(gm: GraphModule, row: Op, function: Node, real: Node, p: QParams, q: QParams) -> Tensor:
    """uint8 [256], or [C, 256] if a parameter of the function has C entries."""

    def value(argument: Any) -> Any:
        return surgery.fetch(gm, argument) if isinstance(argument, Node) and argument is not real else argument

    arguments = {name: value(argument) for name, argument in row.bind(function).items()}
    channels = max([1, *(a.numel() for a in arguments.values() if isinstance(a, Tensor))])
    codes = CODES[:, None].expand(256, channels)
    reals = qparams.dequantize(codes, p)
    arguments = {name: reals if argument is real else argument for name, argument in arguments.items()}
    with torch.no_grad():
        table = qparams.quantize(row.body(**arguments), q)
    return table[:, 0].contiguous() if channels == 1 else table.T.contiguous()
