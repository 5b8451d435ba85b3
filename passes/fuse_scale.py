"""linear(x, w, b) * s -> linear(x, w * s, b * s)      s: a number, or one for each output

The layer scales of vision transformers (Touvron et al. 2021, arXiv:2103.17239), and factors behind a layer. As an op of
its own the product would be requantized once more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pattern import parameter
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Scaled(Rule):
    def pattern(self, x: Any, b: Any, s: Any, w: Any = parameter()) -> Any:
        return ops.mul(ops.linear(x, w, b), s)

    def check(self, m: Match) -> None:
        s, outputs = _factor(m), len(m.fetch(m.w))
        if s.numel() > 1 and s.numel() != s.shape[-1]:
            m.refuse(f"the factor has the shape {list(s.shape)}; the layer has {outputs} outputs")
        if not bool(s.any()):
            m.refuse("a weight of zeros has no scale")

    def rewrite(self, m: Match, x: Any, b: Any, w: Any) -> Any:
        s = _factor(m).reshape(-1)
        bias = None if b is None else m.changed(b, m.fetch(b) * s)
        return ops.linear(x, m.changed(w, m.fetch(w) * s[:, None]), bias)


def _factor(m: Match) -> Tensor:
    return torch.tensor([float(m.s)]) if isinstance(m.s, (int, float)) else m.fetch(m.s)


RULES = (Scaled(),)


@register_pass(stage="fuse")
def fuse_scale(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
