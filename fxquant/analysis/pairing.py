"""Which value of a quantized graph stands for which value of the float graph, by where both come from.

A fused node computes what the last of the calls that it absorbed computes: relu(bn(conv(x))) is held against the relu.
"""

from __future__ import annotations

from collections import defaultdict

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph.annotation import quant_of
from fxquant.graph.integers import layer_of
from fxquant.graph.origin import Origin
from fxquant.graph.rescaling import rescaling_of
from fxquant.graph.surgery import absorbed_origins
from fxquant.ops.op import op_name

Pairs = dict[Node, Node]


def pairs_of(quantized: GraphModule, reference: GraphModule) -> Pairs:
    """For each node of `quantized` that can be held against a node of `reference`, that node, in running order.

    `quantized` is a graph after any stage, with the nodes of its regions; `reference` one after fuse. A value that is
    rounded behind the node that computes it is judged at its quantize.
    """
    by_call = nodes_by_call(reference)
    order = {node: index for index, node in enumerate(reference.graph.nodes)}
    nodes: dict[Origin, list[Node]] = defaultdict(list)
    for node in quantized.graph.nodes:
        known = [origin for origin in absorbed_origins(node) if origin in by_call]
        if known and node.op.startswith("call_"):
            nodes[max(known, key=lambda origin: order[by_call[origin][-1]])].append(node)
    inputs = {node.target: node for node in reference.graph.nodes if node.op == "placeholder"}
    found = {node: inputs[node.target] for node in quantized.graph.nodes if node.target in inputs}
    for origin, computed in nodes.items():
        found.update(_aligned(quantized, computed, by_call[origin]))
    return _judged(quantized, found)


def nodes_by_call(gm: GraphModule) -> dict[Origin, list[Node]]:
    """The nodes that each of the user's calls became, or became a part of."""
    found: dict[Origin, list[Node]] = defaultdict(list)
    for node in gm.graph.nodes:
        if node.op.startswith("call_"):
            for origin in absorbed_origins(node):
                found[origin].append(node)
    return found


def _aligned(gm: GraphModule, computed: list[Node], expected: list[Node]) -> Pairs:
    """The nodes that one call became on either side, one by one; or their last ones, where the numbers differ.

    A node and its twin, which a correction made to rescale it for some of its readers, both stand for the call.
    """
    if len(computed) != len(expected):
        last = {rescaling_of(node) is None: node for node in computed if op_name(gm, node) == op_name(gm, computed[-1])}
        computed = sorted(last.values())
        expected = expected[-1:] * len(computed)
    pairs = zip(computed, expected, strict=True)
    return {node: other for node, other in pairs if _rank(node) == _rank(other)}


def _rank(node: Node) -> int:
    return len(node.meta.get("shape") or ())


def _judged(gm: GraphModule, found: Pairs) -> Pairs:
    pairs: Pairs = {}
    for node in gm.graph.nodes:
        if node not in found or quant_of(node).absorbed_by:
            continue
        rounding = next((user for user in node.users if is_quantize(gm, user)), None)
        if node.op != "placeholder" and not (rounding and quant_of(node).int8):
            pairs[node] = found[node]
        if rounding:
            pairs[rounding] = found[node]
    return pairs


def is_quantize(gm: GraphModule, node: Node) -> bool:
    """Whether `node` makes integers of real numbers."""
    layer = layer_of(gm, node)
    return node.target is ops.quantize or (layer is not None and layer.integer_op is ops.quantize)
