"""What the annotate stage writes and the later stages read: `node.meta["quant"]`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch.fx import Node

from fxquant.ops.op import Output, op_of
from fxquant.qconfig_mapping import Match
from fxquant.qparams import Dynamic


@dataclass(frozen=True)
class Quant:
    """The decision about one node.

    `reason`: why it stays float; empty if it runs in int8. `group`: values of one group share qparams; None if the
    value is not quantized. `observe`: an observer watches the value. `absorbed_by`: the node whose epilogue computes
    this one, so that its own value never exists. `border`: it goes in or out of the model as integers. `rows`: it
    computes in float, of a table whose rows are integers. `grouped`: its weights have a scale for each group of inputs.
    `dynamic`: it takes and gives floats, and how it makes integers of them in between; None if it does not.
    `two_bytes`: it is dynamic, and its weights are of two bytes, made of the floats when it is folded.
    `integer_bias`: it is dynamic, and its bias is rounded at the scale of the sums.
    `weight_only`: it computes in float, of weights that are integers.
    """

    int8: bool
    reason: str = ""
    group: int | None = None
    observe: bool = False
    absorbed_by: str = ""
    border: bool = False
    rows: bool = False
    grouped: bool = False
    dynamic: Dynamic | None = None
    two_bytes: bool = False
    integer_bias: bool = False
    weight_only: bool = False


def quant_of(node: Node) -> Quant:
    """The decision about `node`; graph inputs, attributes and the output count as float without a reason."""
    quant = node.meta.get("quant")
    return quant if isinstance(quant, Quant) else Quant(int8=False)


def stays_float(node: Node) -> bool:
    """Whether it was decided that `node` computes in float, although integers may surround it."""
    return "quant" in node.meta and not quant_of(node).int8


def decide(node: Node, **changes: Any) -> None:
    """Records a decision about `node`, keeping what was decided before."""
    node.meta["quant"] = replace(quant_of(node), **changes)


def leave_float(node: Node, reason: str) -> None:
    """Lets `node` compute in float, as a qconfig of None does; `explain` tells `reason` as it is.

    In annotate, before annotate_int8.
    """
    node.meta["qconfig"] = Match(None, "leave_float", reason)


def rounds_weight(node: Node) -> bool:
    """Whether an op that has a weight computes of integers of it, whatever becomes of its input."""
    quant = quant_of(node)
    return quant.int8 or quant.dynamic is not None or quant.weight_only


def integer_weights(node: Node) -> tuple[str, ...]:
    """Arguments of `node` that are kept in integers: the weights of an op that is not float, or the table of `rows`."""
    row, quant = op_of(node), quant_of(node)
    if row is None or quant.two_bytes:
        return ()
    if quant.int8 or quant.dynamic or quant.weight_only:
        return row.weights
    return (row.rows,) if quant.rows and row.rows else ()


def activations(node: Node) -> list[Node]:
    """The nodes that an op reads as activations; for an op outside the vocabulary, every node it reads."""
    row = op_of(node)
    if row is None:
        return list(node.all_input_nodes)
    return [n for name in row.activations for n in _nodes(row.bind(node).get(name))]


def _nodes(value: Any) -> list[Node]:
    if isinstance(value, Node):
        return [value]
    return [v for v in value if isinstance(v, Node)] if isinstance(value, (tuple, list)) else []


def is_table(node: Node) -> bool:
    """Whether the node maps one uint8 tensor element by element, so that 256 entries say it all."""
    row = op_of(node)
    return row is not None and row.pointwise and len(activations(node)) == 1


def is_several(node: Node) -> bool:
    """Whether the node's value is a tuple of tensors, as that of chunk or split."""
    row = op_of(node)
    return row is not None and row.several


def is_compound(node: Node) -> bool:
    """Whether what the node gives is no tensor, but holds some of several kinds: the states of a recurrence."""
    row = op_of(node)
    return row is not None and row.output is Output.NONE


def leads(node: Node) -> bool:
    """Whether the op computes enough to run in int8 on its own account: it has weights, or combines two tensors.

    These are the ops that end in a requantize, whose bounds a following clamp can narrow.
    """
    row = op_of(node)
    if row is None or row.follows:
        return False
    return row.weight is not None or (row.kernel and len(activations(node)) > 1)
