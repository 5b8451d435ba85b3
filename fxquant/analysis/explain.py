"""Which node of the quantized model runs in int8, which stays float, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text
from torch import nn
from torch.fx import GraphModule, Node

from fxquant.analysis.printed import printed
from fxquant.errors import ConfigError
from fxquant.graph.annotation import activations, quant_of
from fxquant.graph.integers import integer_values, layer_of
from fxquant.graph.kept import meta_of
from fxquant.graph.origin import origin_of
from fxquant.graph.parts import Capture, captures_of, parts_of
from fxquant.graph.surgery import absorbed_origins, is_tensor
from fxquant.ops.op import OPS, op_name, op_of
from fxquant.placement.estimate import Microseconds, microseconds
from fxquant.runtime.layer import Layer
from fxquant.runtime.layers.floats import Floats
from fxquant.runtime.layers.linear import WeightOnlyLinear


@dataclass(frozen=True)
class Row:
    """One node: what computes it, in which precision, what it absorbed of the user's model, and the reason if float.

    A precision is int8, dynamic (floats in and out, and int8 in between), weight-only (floats throughout, of int8
    weights), float, or boundary.

    With placement="fastest", `int8_us` and `float_us` are what its work was estimated to take in either precision, in
    microseconds; None where there was nothing to choose, or where another row of the same work holds the sum.
    """

    node: str
    op: str
    precision: str
    place: str
    absorbed: tuple[str, ...] = ()
    reason: str = ""
    int8_us: float | None = None
    float_us: float | None = None


@dataclass(frozen=True)
class Explanation:
    """The rows of a model, in running order, and how its code was captured. Printing it prints tables."""

    rows: tuple[Row, ...]
    captures: tuple[Capture, ...] = ()

    @property
    def float_rows(self) -> tuple[Row, ...]:
        """The nodes that stay float, each with its reason."""
        return tuple(row for row in self.rows if row.precision == "float")

    def __str__(self) -> str:
        table = Table("node", "op", "precision", "in your model", "absorbed", "reason")
        estimated = any(row.int8_us is not None for row in self.rows)
        if estimated:
            table.add_column("int8 us", justify="right")
            table.add_column("float us", justify="right")
        for row in self.rows:
            cells = [row.node, row.op, row.precision, row.place, ", ".join(row.absorbed), row.reason]
            table.add_row(*map(Text, cells), *([_number(row.int8_us), _number(row.float_us)] if estimated else []))
        told = any(capture.reason or capture.cost for capture in self.captures)
        text = printed(*([_captures(self.captures)] if told else []), table)
        count = Counter(row.precision for row in self.rows)
        some = "".join(f"{count[kind]} {kind}, " for kind in ("dynamic", "weight-only") if count[kind])
        return f"{text}{count['int8']} int8, {some}{count['float']} float, {count['boundary']} at the boundary"


def explain(quantized: nn.Module) -> Explanation:
    """Every node of what `convert_fx` returned: int8 or float, and why. Raises ConfigError for any other model."""
    if not isinstance(quantized, nn.Module) or "explanation" not in meta_of(quantized):
        raise ConfigError("explain takes what convert_fx returned")
    parts = [part for _, part in parts_of(quantized)]
    rows = tuple(row for part in reversed(parts) for row in part.meta["explanation"])
    return Explanation(rows, captures_of(quantized))


def _captures(captures: tuple[Capture, ...]) -> Table:
    table = Table("module", "captured by", "reason", "cost", title="How the model's code was captured")
    for each in captures:
        table.add_row(*map(Text, (each.path or "the model", each.how, each.reason, each.cost)))
    return table


def explanation_of(gm: GraphModule) -> tuple[Row, ...]:
    """The rows of a graph that the compiler has just finished, while its nodes still know what was decided."""
    integers = integer_values(gm)
    calls = [node for node in gm.graph.nodes if node.op.startswith("call_")]
    us = microseconds(gm)
    return tuple(_row(gm, node, integers, us[node]) for node in calls if node in integers or _gives_tensors(node))


def _gives_tensors(node: Node) -> bool:
    """Whether the value is a tensor or holds several, as that of chunk or LSTM does: sizes and numbers do not count."""
    return node.op == "call_module" or is_tensor(node) or node.meta.get("shape") is not None


def _row(gm: GraphModule, node: Node, integers: set[Node], us: Microseconds) -> Row:
    origin, layer = origin_of(node), layer_of(gm, node)
    boundary = layer is not None and layer.at_boundary
    module = node.op == "call_module" and layer is None  # of several layers, as an LSTM
    dynamic = layer is not None and OPS[layer.integer_op].name.startswith("dynamic_")
    dynamic = dynamic or (module and quant_of(node).dynamic is not None)
    precision = "boundary" if boundary else "int8" if node in integers or _in_int8(gm, node) else "float"
    weight_only = isinstance(layer, WeightOnlyLinear) or (layer is None and quant_of(node).weight_only)
    precision = "dynamic" if dynamic else "weight-only" if weight_only else precision
    return Row(
        node=node.name,
        op=op_name(gm, node),
        precision=precision,
        place=origin.module_path if origin else "",
        absorbed=tuple(o.spelling_name for o in absorbed_origins(node)[1:]),
        reason=_reason(node, layer) if precision == "float" else "",
        int8_us=us.int8,
        float_us=us.float,
    )


def _in_int8(gm: GraphModule, node: Node) -> bool:
    """Whether it is an int8 layer, maybe of floats, or what the compiler put behind one: the squeeze of a conv1d."""
    row, layer = op_of(node), layer_of(gm, node)
    if layer is not None:
        return layer.takes_integers
    moves = row is not None and row.moves and quant_of(node).int8
    return moves and all(layer_of(gm, x) is not None for x in activations(node))


def _number(us: float | None) -> str:
    return "" if us is None else f"{us:.1f}"


def _reason(node: Node, layer: Layer | None) -> str:
    if isinstance(layer, Floats):
        return "it has a kernel for floats, beside layers that take and give them"
    return quant_of(node).reason or str(node.meta.get("reason", ""))
