"""Which ops run in int8; for every other one, the reason why it stays float.

Ops that compute (convolution, linear, add, mul) run in int8 wherever their qconfig and the kernels allow it. All others
follow their neighbours, since a quantize and a dequantize around one cheap op cost more than it saves:

    int8 if an input is computed in int8, or all users run in int8,
    or all inputs are the graph's own (unless the op only moves them)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import activations, decide, is_table, leads, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import Op, op_of
from fxquant.qconfig import QConfig

# K * 255 * 128 must stay below 2**31, or an int32 accumulator could wrap (Numbers, docs/int8_arithmetic.md).
LONGEST_REDUCTION = (2**31 - 1) // (255 * 128)


@register_pass(stage="annotate")
def annotate_int8(gm: GraphModule) -> GraphModule:
    followers = []
    for node in gm.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        reason = why_float(gm, node)
        decide(node, int8=reason is None and leads(node), reason=reason or "")
        if reason is None and not leads(node):
            followers.append(node)
    _follow(followers)
    return gm


def why_float(gm: GraphModule, node: Node) -> str | None:
    """The reason why `node` cannot run in int8 whatever its neighbours do, or None."""
    row = op_of(node)
    if row is None:
        return str(node.meta.get("reason") or f"{_name(gm, node)} is not in the op table")
    if not (row.kernel or row.moves or is_table(row, node)):
        return str(node.meta.get("reason") or f"there is no int8 kernel for {row.name}")
    return _config_limit(node) or _type_limit(node) or row.limits(row.bind(node)) or _weight_limit(gm, node, row)


def _follow(followers: list[Node]) -> None:
    waiting = followers
    while True:
        stay = [node for node in waiting if not _drawn_into_int8(node)]
        for node in waiting:
            if node not in stay:
                decide(node, int8=True, reason="")
        if len(stay) == len(waiting):
            break
        waiting = stay
    for node in waiting:
        decide(node, int8=False, reason="neither its inputs nor all of its users run in int8")


def _drawn_into_int8(node: Node) -> bool:
    inputs = activations(node)
    if any(quant_of(n).int8 for n in inputs):
        return True
    row = op_of(node)
    if inputs and all(n.op == "placeholder" for n in inputs) and row is not None and not row.moves:
        return True
    users = [u for u in node.users if surgery.is_tensor(u)]
    return bool(users) and all(quant_of(u).int8 for u in users)


def _config_limit(node: Node) -> str | None:
    match = node.meta.get("qconfig")
    if match is None or match.qconfig is None:
        return f"its qconfig is None, by {match.source}" if match else "no qconfig reaches it"
    activation = match.qconfig.activation()
    if getattr(activation, "is_dynamic", False):
        return "its qconfig is dynamic; this is static quantization"
    if activation.dtype not in (torch.uint8, torch.int8):
        return f"its qconfig asks for {activation.dtype} activations; kernels take 8-bit integers"
    if getattr(activation, "ch_axis", None) is not None:
        return "its qconfig asks for activations with a scale a channel; kernels take one scale"
    return None


def _type_limit(node: Node) -> str | None:
    for value in [*activations(node), node]:
        row, dtype = op_of(value), value.meta.get("dtype") or torch.float32
        if dtype is not torch.float32:
            return f"{value.name} is {dtype}, not float32"
        if not surgery.is_tensor(value) and not (row is not None and row.several):
            return f"{value.name} is not a tensor"
    return None


def _weight_limit(gm: GraphModule, node: Node, row: Op) -> str | None:
    if row.weight is None:
        return None
    arguments = row.bind(node)
    for role in (row.weight, row.bias):
        value = arguments.get(role) if role else None
        if isinstance(value, Node) and value.op != "get_attr":
            return f"its {role} is computed, not a parameter"
    weight = surgery.fetch(gm, arguments[row.weight])
    reduction = weight[0].numel()
    if reduction > LONGEST_REDUCTION:
        return f"a reduction over {reduction} elements could overflow int32; at most {LONGEST_REDUCTION} fit"
    return _weight_config_limit(node.meta["qconfig"].qconfig)


def _weight_config_limit(qconfig: QConfig) -> str | None:
    if qconfig.weight is None:
        return "its qconfig has no weight observer"
    weight: Any = qconfig.weight()
    if weight.dtype is not torch.int8:
        return f"its qconfig asks for {weight.dtype} weights; kernels take int8"
    if not weight.qscheme.symmetric:
        return "its qconfig asks for affine weights; kernels take symmetric ones"
    if getattr(weight, "ch_axis", None) not in (None, 0):
        return (
            f"its qconfig asks for weights with a scale along axis {weight.ch_axis}; kernels take axis 0, the outputs"
        )
    return None


def _name(gm: GraphModule, node: Node) -> str:
    if node.op == "call_module":
        return type(gm.get_submodule(str(node.target))).__name__
    return getattr(node.target, "__name__", str(node.target))
