"""quantize(f(dequantize(x, p)), q) -> lookup(x, table)  for every op f that works element by element, and for chains f.

table[i] = quantize(f(dequantize(i, p)), q) is computed with the ops' own meaning, so it is exact. A parameter that
differs a channel (PReLU, batch norm) gives one table a channel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, is_table, stays_float
from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import CODES, QParams


@register_pass(stage="fold")
def fold_lookup(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is ops.quantize and isinstance(node.args[0], Node):
            _fold(gm, node, node.args[0])
    return surgery.clean(gm)


def _fold(gm: GraphModule, quantize: Node, function: Node) -> None:
    chain = _chain(function)
    if not chain:
        return
    (real,) = activations(chain[0])
    x, p = real.args
    table = _table(gm, chain, p, quantize.args[1])  # type: ignore[arg-type]
    origin = origin_of(chain[0])
    name = f"{origin.local_path}.table" if origin and origin.local_path else "table"
    constant = surgery.constant(gm, name, table, quantize)
    surgery.replace(quantize, surgery.emit(quantize, ops.lookup, x, constant, sources=chain))


def _chain(node: Node) -> list[Node]:
    """The functions, in running order, that lead from a dequantize to the value of `node`; none if others read it."""
    chain: list[Node] = []
    while is_table(node) and _is_private(node):
        chain.insert(0, node)
        (node,) = activations(node)
    return chain if node.target is ops.dequantize else []


def _is_private(node: Node) -> bool:
    return len(node.users) == 1 and not stays_float(node)


def _table(gm: GraphModule, chain: list[Node], p: QParams, q: QParams) -> Tensor:
    """uint8 [256], or [C, 256] if a parameter of a function has C entries."""
    parameters = [surgery.fetch(gm, n) for function in chain for n in function.all_input_nodes if n.op == "get_attr"]
    channels = max([1, *(parameter.numel() for parameter in parameters)])
    reals = qparams.dequantize(CODES[:, None].expand(256, channels), p)
    for function in chain:
        reals = _apply(gm, function, reals)
    table = qparams.quantize(reals, q)
    return table[:, 0].contiguous() if channels == 1 else table.T.contiguous()


def _apply(gm: GraphModule, function: Node, reals: Tensor) -> Tensor:
    """What `function` makes of `reals` in place of the value that it maps."""
    row, (mapped,) = op_of(function), activations(function)
    assert row is not None

    def value(argument: Any) -> Any:
        if argument is mapped:
            return reals
        return surgery.fetch(gm, argument) if isinstance(argument, Node) else argument

    with torch.no_grad():
        result: Tensor = row.body(**{name: value(argument) for name, argument in row.bind(function).items()})
    return result
