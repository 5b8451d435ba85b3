"""dequantize(quantize(act(linear(dequantize(x, p), ...)), q), q), read in float alone -> act(linear(...))
dequantize(quantize(act(add(a, b)), q), q), read by layers alone that stay float    -> act(add(a, b))
the same in a model of prepare_qat_fx                           -> clamp(act(...), low, high)

where act is nothing, relu or clamp; likewise for convolutions. Rounding to q serves ops that read integers; where none
does, it only loses accuracy, and so does saturating at the range that calibration saw. A linear computes in int8 as
before, see fold_float_output; an add is float itself, and what it alone reads is not rounded, either. A model of
prepare_qat_fx was trained to saturate at the bounds of q, low and high, so it still does; the rounding was noise to it,
whose mean is 0.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph.annotation import decide, leads, quant_of, stays_float
from fxquant.graph.origin import path_of
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.graph.weights import is_depthwise
from fxquant.ops.op import op_of

_WITH_FLOAT_OUTPUT = (
    *(ops.conv1d, ops.conv2d, ops.conv3d, ops.conv_transpose1d, ops.conv_transpose2d, ops.conv_transpose3d),
    ops.linear,
)
_BOUNDS = (ops.relu, ops.clamp)


class ReadInFloat(Rule):
    def pattern(self, x: Any, q: Any) -> Any:
        return ops.dequantize(ops.quantize(x, q), q)

    def check(self, m: Match) -> None:
        if not all(user.op == "output" or stays_float(user) for user in m.root.users):
            m.refuse("an op that may run in int8 reads it")
        x = _within_bounds(m.x)
        if x.target not in _WITH_FLOAT_OUTPUT or len(x.users) > 1:
            m.refuse("only linear and convolutions write float32 from int8, and only if nothing else reads it")
        if quant_of(x).grouped:
            m.refuse("the kernel for groups of inputs gives integers only")
        row = op_of(x)
        assert row is not None
        arguments = row.bind(x)
        if any(getattr(arguments[name], "target", None) is not ops.dequantize for name in ("x", "weight")):
            m.refuse("the op does not run in int8")
        if is_depthwise(m.fetch(arguments["weight"].args[0]), arguments):
            m.refuse("the depthwise kernels give integers only, and are much faster than the others")

    def rewrite(self, m: Match, x: Any, q: Any) -> Any:
        if not m.gm.meta.get("trains"):
            return x
        low, high = (q.scale * (bound - q.zero_point) for bound in (q.quant_min, q.quant_max))
        return ops.clamp(x, low, high)


class SumReadInFloat(ReadInFloat):
    def check(self, m: Match) -> None:
        if not all(stays_float(user) and leads(user) for user in m.root.users):
            m.refuse("something else reads it than layers that stay float")
        total = _within_bounds(m.x)
        if total.target is not ops.add or len(total.users) > 1:
            m.refuse("only sums are as cheap in float, and only if nothing else reads it")

    def rewrite(self, m: Match, x: Any, q: Any) -> Any:
        readers = ", ".join(path_of(user) for user in m.root.users)
        for node in (m.x, _within_bounds(m.x)):
            decide(node, int8=False, reason=f"only layers that stay float read it: {readers}")
        return super().rewrite(m, x, q)


def _within_bounds(x: Node) -> Any:
    """What a relu or a clamp is of that only the quantize reads; other nodes as they are."""
    return x.args[0] if x.target in _BOUNDS and len(x.users) == 1 else x


RULES = (ReadInFloat(), SumReadInFloat())


@register_pass(stage="convert")
def convert_float_reads(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
