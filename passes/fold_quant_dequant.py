"""quantize(dequantize(x, q), q)  -> x
quantize(dequantize(x, p), q)  -> lookup(x, table): from one mapping to another, 256 entries say it all
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Cancel(Rule):
    def pattern(self, x: Any, q: Any) -> Any:
        return ops.quantize(ops.dequantize(x, q), q)

    def rewrite(self, m: Match, x: Any, q: Any) -> Any:
        return x


class Remap(Rule):
    def pattern(self, x: Any, p: Any, q: Any) -> Any:
        return ops.quantize(ops.dequantize(x, p), q)

    def check(self, m: Match) -> None:
        if m.p.axis is not None or m.q.axis is not None:
            m.refuse("a table holds one mapping, not one a channel")

    def rewrite(self, m: Match, x: Any, p: Any, q: Any) -> Any:
        table = qparams.quantize(qparams.dequantize(qparams.CODES, p), q)
        return ops.lookup(x, m.constant("table", table))


RULES = (Cancel(), Remap())


@register_pass(stage="fold")
def fold_quant_dequant(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
