"""linear(x, w, b) * k -> linear(x, w * k, b * k)      for a number k"""

from fxquant import ops
from fxquant.plugin import Rule, apply_rules, parameter, register_pass, scalar


class ScaleIntoWeights(Rule):
    def pattern(self, x, w=parameter(), b=parameter(), k=scalar()):
        return ops.mul(ops.linear(x, w, b), k)

    def check(self, m):
        if m.k == 0:
            m.refuse("a weight of zeros has no scale")

    def rewrite(self, m, x, w, b, k):
        return ops.linear(x, m.changed(w, m.fetch(w) * k), m.changed(b, m.fetch(b) * k))


@register_pass(stage="fuse")
def scale_into_weights(gm):
    return apply_rules(gm, [ScaleIntoWeights()])
