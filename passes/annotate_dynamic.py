"""Ops that take and give floats, and make integers of them in between, with scales found at run time.

They do under a qconfig whose activations are dynamic, where the op has such a kernel. A scale belongs to one row of the
input, unless the qconfig asks for one for the whole tensor, as torch.ao has it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import decide
from fxquant.graph.limits import backend_limit, call_limit, made_by, weight_config_limit
from fxquant.graph.pipeline import register_pass
from fxquant.graph.weights import TRANSPOSED, is_depthwise
from fxquant.kernels.recurrent import LARGEST_OF_TWO_BYTES
from fxquant.observer import default_weight_observer
from fxquant.ops.op import Op, op_of
from fxquant.qconfig_mapping import Match
from fxquant.qparams import Dynamic

DEPTHWISE_LIMIT = "it is depthwise: too little is computed of each input to make up for finding its scale"
FEW_LIMIT = "it has few rows or columns: too little is computed of each number to make up for finding its scale"
# In which each number of a matmul's operands is to have a part, on average.
FEWEST_PRODUCTS = 16


@register_pass(stage="annotate")
def annotate_dynamic(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        row, match = op_of(node), node.meta.get("qconfig")
        if row is None or not row.dynamic or match is None or match.qconfig is None or "custom" in node.meta:
            continue
        activation = made_by(match.qconfig.activation, match.source)
        if activation.is_dynamic:
            decide_dynamic(gm, node, row, match, dynamic_of(activation))
    return gm


def decide_dynamic(gm: GraphModule, node: Node, row: Op, match: Match, dynamic: Dynamic) -> None:
    """Notes that `node` runs dynamically, or why no kernel takes it."""
    weighted, two_bytes = row.weight is not None, row.call is ops.recurrent and wants_two_bytes(match)
    axes = (0, 1) if row.name in TRANSPOSED else (0,)
    checked = in_8_bits(match) if two_bytes else match
    if row.call is ops.recurrent:
        limit = recurrent_limit(match)
    elif weighted:
        limit = dynamic_limit(match, axes, groups=row.call is ops.linear)
    else:
        limit = activation_limit(match) or symmetric_limit(dynamic)
    limit = limit or call_limit(gm, node, row, checked) or backend_limit(gm, node, has_weight=weighted)
    integer_bias = weighted and wants_integer_bias(match)
    if integer_bias and limit is None:
        bias = row.bind(node)[str(row.bias)]
        limit = integer_bias_limit(None if bias is None else surgery.fetch(gm, bias))
    reason = limit or _speed_limit(gm, node, row)
    decide(
        node,
        dynamic=None if reason else dynamic,
        two_bytes=two_bytes and not reason,
        integer_bias=integer_bias and not reason,
        reason=reason or "",
    )


def wants_two_bytes(match: Match) -> bool:
    """Whether a qconfig wants weights of 16 bits."""
    assert match.qconfig is not None
    return match.qconfig.weight is not None and made_by(match.qconfig.weight, match.source).dtype is torch.int16


def recurrent_limit(match: Match) -> str | None:
    """`dynamic_limit` of recurrent layers, whose weights may have 16 bits."""
    if wants_two_bytes(match):
        return two_bytes_limit(match) or dynamic_limit(in_8_bits(match))
    return dynamic_limit(match)


def two_bytes_limit(match: Match) -> str | None:
    """The reason why no kernel takes the 16-bit weights that a qconfig wants, or None."""
    assert match.qconfig is not None
    assert match.qconfig.weight is not None
    weight = made_by(match.qconfig.weight, match.source)
    if max(-weight.quant_min, weight.quant_max) > LARGEST_OF_TWO_BYTES:
        return f"int16 weights have quant_min and quant_max within -{LARGEST_OF_TWO_BYTES}..{LARGEST_OF_TWO_BYTES}"
    if not weight.qscheme.symmetric or getattr(weight, "ch_axis", 0) != 0:
        return "int16 weights are symmetric, with one scale or one for each output"
    return None


def in_8_bits(match: Match) -> Match:
    """The same with weights of 8 bits, to which all other limits apply."""
    assert match.qconfig is not None
    return match._replace(qconfig=match.qconfig._replace(weight=default_weight_observer))


def _speed_limit(gm: GraphModule, node: Node, row: Op) -> str | None:
    """The reason why the call is faster in float, or None."""
    arguments = row.bind(node)
    if row.call is ops.matmul and not is_matrix(arguments["b"]):
        rows, columns = (node.meta.get("shape") or (0, 0))[-2:]
        return FEW_LIMIT if rows * columns < FEWEST_PRODUCTS * (rows + columns) else None
    if row.weight is None or not is_depthwise(surgery.fetch(gm, arguments[row.weight]), arguments):
        return None
    return DEPTHWISE_LIMIT


def is_matrix(factor: Node) -> bool:
    """Whether the right factor of a product is a parameter: the integers of one matrix are made beforehand."""
    return factor.op == "get_attr" and len(factor.meta.get("shape") or ()) == 2


def symmetric_limit(dynamic: Dynamic) -> str | None:
    """The reason why a kernel that makes symmetric codes of both operands does not take these, or None."""
    if (dynamic.quant_min, dynamic.quant_max) != (0, 255):
        return "its qconfig asks for fewer than 256 codes; its kernel takes all"
    return None


def dynamic_limit(match: Match, axes: tuple[int, ...] = (0,), groups: bool = False) -> str | None:
    """The reason why no kernel with weights computes under a qconfig with dynamic activations, or None.

    `axes`: along which the qconfig may ask for scales. `groups`: it is that of linear, whose weight may have one for
    each group of inputs, or else its bias be of integers.
    """
    assert match.qconfig is not None
    limit = activation_limit(match)
    if limit is not None or match.qconfig.weight is None:
        return limit or weight_config_limit(match, axes)
    in_groups = hasattr(made_by(match.qconfig.weight, match.source), "group_size")
    if not groups and in_groups:
        return "its qconfig asks for groups of inputs; only linear has a kernel for groups"
    if wants_integer_bias(match) and (in_groups or not groups):
        return "its qconfig asks for a bias of torch.int32; only linear, with weights that are not in groups, has one"
    return weight_config_limit(match, axes)


def wants_integer_bias(match: Match) -> bool:
    """Whether a qconfig wants biases of dynamic products in integers."""
    assert match.qconfig is not None
    activation = made_by(match.qconfig.activation, match.source)
    return getattr(activation, "bias_dtype", None) is torch.int32


def integer_bias_limit(bias: Tensor | None) -> str | None:
    """The reason why there are no integers of a bias, or None."""
    if bias is None or bool(bias.isfinite().all()):
        return None
    return "its qconfig asks for a bias of torch.int32, which has no infinity and no NaN; its bias has"


def activation_limit(match: Match) -> str | None:
    """The same of the activations alone."""
    assert match.qconfig is not None
    activation = made_by(match.qconfig.activation, match.source)
    if activation.dtype not in (torch.uint8, torch.int8):
        return f"its qconfig asks for {activation.dtype} activations; kernels take 8-bit integers"
    if activation.qscheme.symmetric or activation.qscheme.per_channel:
        return f"its qconfig asks for {activation.qscheme.value} activations; dynamic ones are affine, by row or tensor"
    return None


def dynamic_of(activation: Any) -> Dynamic:
    """What a dynamic observer stands for. Signed codes are those of the same reals as unsigned ones."""
    offset = 128 if activation.dtype is torch.int8 else 0
    low = -offset if activation.quant_min is None else activation.quant_min
    high = 255 - offset if activation.quant_max is None else activation.quant_max
    return Dynamic(getattr(activation, "by_row", False), low + offset, high + offset)
