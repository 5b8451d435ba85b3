"""Which values share qparams, and which are watched by an observer.

An int8 op reads and writes quantized values. Its output is in the group of its inputs where the op only passes values
on (max-pool, reshape, cat …), so that it computes on the integers as they are; a group has one observer. The states of
a recurrence are in the group of its initial state, so that one call can go on where another one ended.
"""

from __future__ import annotations

from networkx.utils import UnionFind
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import activations, decide, is_compound, is_several, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import AS_GOOD_AS_INFINITE
from fxquant.ops.op import Output, op_of


@register_pass(stage="annotate")
def annotate_groups(gm: GraphModule) -> GraphModule:
    shared: UnionFind[Node] = UnionFind()
    for node in gm.graph.nodes:
        if quant_of(node).int8:
            values = _quantized_values(node)
            for value in values:
                shared[value]
            if _passes_on(node) and values:
                shared.union(*values)
            for state in _fed_back(node):
                shared.union(node, state)
    number = {node: i for i, node in enumerate(gm.graph.nodes)}
    groups = sorted((sorted(group, key=number.__getitem__) for group in shared.to_sets()), key=lambda g: number[g[0]])
    for index, group in enumerate(groups):
        for node in group:
            decide(node, group=index, observe=_brings_values(node))
    return gm


def _quantized_values(node: Node) -> list[Node]:
    """The inputs that `node` reads as integers, and its output unless another op's epilogue computes it."""
    inputs = [x for x in activations(node) if quant_of(x).absorbed_by != node.name]
    values = inputs if quant_of(node).absorbed_by else [*inputs, node]
    return [x for x in values if not is_compound(x)]


def _fed_back(node: Node) -> list[Node]:
    """The initial state of the recurrence whose later states `node` is."""
    rows = [(x, op_of(x)) for x in activations(node) if is_compound(x)]
    states = [row.bind(x)[row.feeds_back] for x, row in rows if row is not None and row.feeds_back]
    return [state for state in states if isinstance(state, Node)]


def _passes_on(node: Node) -> bool:
    row = op_of(node)
    return row is not None and row.output is Output.SAME


def _brings_values(node: Node) -> bool:
    """Whether the value holds numbers that its inputs do not: only then it needs watching."""
    row = op_of(node)
    if is_several(node):
        return False
    if not (quant_of(node).int8 and _passes_on(node)):
        return surgery.is_tensor(node)
    if row is None or row.name not in ("pad", "masked_fill"):
        return False
    # What is as good as infinite has no range: it saturates at the bounds of what it stands among.
    return bool(0 < abs(row.bind(node)["value"]) < AS_GOOD_AS_INFINITE)
