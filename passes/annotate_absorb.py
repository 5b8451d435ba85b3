"""Which values never exist, because the epilogue of their neighbour computes on.

relu(conv(x)), clamp(add(a, b)), …   the activation is the saturation of the op before it
relu(batch_norm(x)), clamp(x + 3) …  the table of the function before it holds what the activation gives
add(conv(x), r)                      the residual r is added before the convolution's rounding
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.graph.annotation import activations, decide, is_table, leads, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of

SATURATIONS = ("relu", "clamp")


@register_pass(stage="annotate")
def annotate_absorb(gm: GraphModule) -> GraphModule:
    varying = _varying(gm)
    for node in gm.graph.nodes:
        if not quant_of(node).int8:
            continue
        absorbed = _saturated(node) or _residual(node, varying)
        if absorbed is not None:
            decide(absorbed, absorbed_by=node.name)
    return gm


def _saturated(node: Node) -> Node | None:
    row = op_of(node)
    if row is None or row.name not in SATURATIONS:
        return None
    (x,) = activations(node)
    return x if _private(x) and (leads(x) or is_table(x)) else None


def _varying(gm: GraphModule) -> set[Node]:
    """The values that depend on the graph's inputs. Only these surely have the batch size of the other ones."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        if node.op == "placeholder" or any(x in found for x in node.all_input_nodes):
            found.add(node)
    return found


def _residual(node: Node, varying: set[Node]) -> Node | None:
    """Of two convolutions that are added, the later one takes the sum: the other is computed by then."""
    row = op_of(node)
    if row is None or row.name != "add" or is_table(node):
        return None
    a, b = activations(node)
    if a is b or a.meta.get("shape") != b.meta.get("shape") or not {a, b} <= varying:
        return None
    candidates = [x for x in (a, b) if _private(x) and _has_weight(x)]
    return max(candidates) if candidates else None


def _private(node: Node) -> bool:
    return quant_of(node).int8 and not quant_of(node).absorbed_by and len(node.users) == 1


def _has_weight(node: Node) -> bool:
    """Whether its epilogue can add a residual: it has a weight, of one scale an output."""
    row = op_of(node)
    return row is not None and row.weight is not None and not quant_of(node).grouped
