"""scores + mask, where mask holds -3.4e38 or -inf   ->   stays float

Such values mean "not this one" to the softmax behind. No 8-bit scale holds them beside others, and an example without
padding may not show them. So they are followed from where they come from: constants, buffers and the example inputs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import LARGEST, has_extremes
from fxquant.graph.surgery import is_tensor
from fxquant.ops.op import op_name, op_of

# Beside movement of data: ops that keep an extreme value among their results.
_KEEPS = {
    *("add", "sub", "mul", "div", "where", "masked_fill", "masked_fill_", "minimum", "maximum", "min", "max"),
    *("expand", "expand_as", "repeat", "to", "float", "type_as", "triu", "tril", "full", "full_like", "neg"),
}
# Movement that writes numbers among what it moves.
_FILLS = {"masked_fill", "where"}


@register_pass(stage="annotate")
def annotate_extremes(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            node.meta["extreme"] = _is_extreme(_value(gm, node))
        elif node.op.startswith("call_"):
            node.meta["extreme"] = is_tensor(node) and _keeps_extremes(gm, node)
    return gm


def _value(gm: GraphModule, node: Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(gm.get_submodule(owner), name)


def _is_extreme(value: Any) -> bool:
    if isinstance(value, nn.Parameter):
        return False
    if isinstance(value, Tensor):
        return has_extremes(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > LARGEST


def _keeps_extremes(gm: GraphModule, node: Node) -> bool:
    row = op_of(node)
    if row is not None and row.moves and row.name not in _FILLS:  # its constants are sizes, or the border of a pad
        return any(x.meta.get("extreme") for x in node.all_input_nodes)
    return op_name(gm, node) in _KEEPS and _reads_extremes(node)


def _reads_extremes(node: Node) -> bool:
    found: list[bool] = []

    def see(value: Any) -> None:
        found.append(bool(value.meta.get("extreme")) if isinstance(value, Node) else _is_extreme(value))

    map_aggregate((node.args, node.kwargs), see)
    return any(found)
