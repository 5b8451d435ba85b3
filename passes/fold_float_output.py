"""linear(dequantize(x, p), dequantize(w, s), b)   -> int8_linear(x, w, b, m, FloatOutput())    likewise convolutions
relu(int8_linear(..., FloatOutput(a, b)))          -> int8_linear(..., FloatOutput(0, b))       likewise clamp

with m = s_x * s_w: what no quantize follows computes in int8, too, and writes float32 from its accumulators.
"""

from __future__ import annotations

import math
from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.ops.op import op_of
from fxquant.qparams import FloatOutput

from .fold_conv import ORDINARY, TRANSPOSED, Convolution, TransposedConvolution
from .fold_linear import integer_linear


class Linear(Rule):
    def pattern(self, x: Any, p: Any, w: Any, s: Any, b: Any) -> Any:
        return ops.linear(ops.dequantize(x, p), ops.dequantize(w, s), b)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return integer_linear(m, x, FloatOutput())


class Conv(Convolution):
    def pattern(
        self, x: Any, p: Any, w: Any, s: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: Any
    ) -> Any:
        return self.real(x, p, w, s, b, stride, padding, dilation, groups)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.integer(m, x, FloatOutput())


class ConvTranspose(TransposedConvolution):
    def pattern(
        self,
        x: Any,
        p: Any,
        w: Any,
        s: Any,
        b: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: Any,
        dilation: Any,
    ) -> Any:
        return self.real(x, p, w, s, b, stride, padding, output_padding, groups, dilation)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.integer(m, x, FloatOutput())


RULES: tuple[Rule, ...] = (
    Linear(),
    *(Conv(*forms) for forms in ORDINARY),
    *(ConvTranspose(*forms) for forms in TRANSPOSED),
)


@register_pass(stage="fold")
def fold_float_output(gm: GraphModule) -> GraphModule:
    gm = apply_rules(gm, RULES)
    for node in list(gm.graph.nodes):
        if node.target in (ops.relu, ops.clamp):
            _absorb(node)
    return surgery.clean(gm)


def _absorb(bound: Node) -> None:
    """Moves a relu or a clamp by constants into the op before it, also over the squeeze behind a conv1d."""
    value = source = _alone(bound.args[0])
    if value is not None and value.target is ops.squeeze:
        source = _alone(value.args[0])
    row = None if source is None else op_of(source)
    if row is None or source is None or value is None:
        return
    arguments, bounds = row.bind(source), _bounds(bound)
    output = arguments.get("output")
    if not isinstance(output, FloatOutput) or bounds is None:
        return
    low, high = (min(max(limit, bounds.low), bounds.high) for limit in output)
    new = surgery.emit(source, row.call, sources=[source, bound], **{**arguments, "output": FloatOutput(low, high)})
    surgery.replace(bound, new if value is source else value)  # first: `new` takes over the facts of what it gives
    surgery.replace(source, new)


def _alone(value: Any) -> Node | None:
    """`value`, if it is a node that only one other reads."""
    return value if isinstance(value, Node) and len(value.users) == 1 else None


def _bounds(node: Node) -> FloatOutput | None:
    """Those of a relu or a clamp; None if they are computed. As in clamp, the upper one wins where they cross."""
    if node.target is ops.relu:
        return FloatOutput(0.0, math.inf)
    row = op_of(node)
    assert row is not None
    arguments = row.bind(node)
    low, high = (arguments["min"], -math.inf), (arguments["max"], math.inf)
    if not all(bound is None or isinstance(bound, (int, float)) for bound, _ in (low, high)):
        return None
    least, most = (default if bound is None else float(bound) for bound, default in (low, high))
    return FloatOutput(min(least, most), most)
