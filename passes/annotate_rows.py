"""Embeddings that give real numbers of a table whose rows are kept in integers.

They do under a qconfig that asks for 8-bit or 4-bit weights, with a scale for each row or one for all, and for float32
activations. Bags of rows have no other integer form, and stay float under a qconfig of integer activations: the default
mappings have one of float32 activations for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.graph.annotation import decide, quant_of
from fxquant.graph.limits import backend_limit, made_by
from fxquant.graph.pipeline import register_pass
from fxquant.kernels.embedding import MODES
from fxquant.observer import PassiveObserver
from fxquant.ops.op import Op, op_of
from fxquant.qconfig_mapping import Match


@register_pass(stage="annotate")
def annotate_rows(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        row = op_of(node)
        if row is None or row.rows is None or quant_of(node).int8 or not _asks(node):
            continue
        reason = _limit(node, row) or backend_limit(gm, node, has_weight=True)
        decide(node, rows=reason is None, reason=reason or "it gives real numbers, of rows that are integers")
    return gm


def _asks(node: Node) -> bool:
    """Whether the qconfig wants integers where the op may have them."""
    match = node.meta.get("qconfig")
    if match is None or not wants_integer_weights(match) or "custom" in node.meta:
        return False
    return wants_real_activations(match)


def wants_integer_weights(match: Match) -> bool:
    """Whether a qconfig wants weights of 8 bits at most."""
    if match.qconfig is None or match.qconfig.weight is None:
        return False
    weight = made_by(match.qconfig.weight, match.source)
    return not isinstance(weight, PassiveObserver) and weight.dtype in (torch.uint8, torch.int8)


def wants_real_activations(match: Match) -> bool:
    """Whether a qconfig, which is not None, leaves activations in float32."""
    assert match.qconfig is not None
    activation = made_by(match.qconfig.activation, match.source)
    return isinstance(activation, PassiveObserver) and activation.dtype is torch.float32 and not activation.is_dynamic


def _limit(node: Node, row: Op) -> str | None:
    """The reason why its table stays float, or None."""
    arguments = row.bind(node)
    table = arguments[str(row.rows)]
    if not isinstance(table, Node) or table.op != "get_attr":
        return f"its {row.rows} is computed, not a parameter"
    if table.meta.get("dtype", torch.float32) is not torch.float32:
        return f"its {row.rows} is {table.meta['dtype']}, not float32"
    if arguments.get("mode", MODES[0]) not in MODES:
        return f"the {arguments['mode']} of rows is computed in float; rows of integers give sums and means"
    free = (row.rows, *row.at_run_time)
    computed = [name for name, value in arguments.items() if name not in free and isinstance(value, Node)]
    if computed:
        return f"its {computed[0]} is computed while the model runs; it must be a constant"
    match: Any = node.meta["qconfig"]
    weight = made_by(match.qconfig.weight, match.source)
    if hasattr(weight, "group_size"):
        return f"its qconfig asks for groups of {weight.group_size} weights; kernels take one scale for each row"
    axis = getattr(weight, "ch_axis", None)
    if axis not in (None, 0):
        return f"its qconfig asks for a scale along axis {axis} of the table; kernels take one for each row"
    return None
