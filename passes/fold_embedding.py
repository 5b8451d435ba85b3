"""quantize(embedding(indices, w), q) -> int8_embedding(indices, quantize(w, q)): rows that are quantized beforehand."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Embedding(Rule):
    def pattern(self, indices: Any, w: Any, q: Any) -> Any:
        return ops.quantize(ops.embedding(indices, w), q)

    def rewrite(self, m: Match, indices: Any, **_: Any) -> Any:
        return ops.int8_embedding(indices, m.constant("rows", qparams.quantize(m.fetch(m.w), m.q)))


RULES = (Embedding(),)


@register_pass(stage="fold")
def fold_embedding(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
