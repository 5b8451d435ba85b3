"""linear(linear(x, a, c), b, d) -> linear(x, b a, b c + d)"""

from fxquant import ops
from fxquant.plugin import Rule, apply_rules, parameter, register_pass


class TwoLinears(Rule):
    def pattern(self, x, a=parameter(), c=parameter(), b=parameter(), d=parameter()):
        return ops.linear(ops.linear(x, a, c), b, d)

    def check(self, m):
        a, b = m.fetch(m.a), m.fetch(m.b)
        if len(b) * a.shape[1] > a.numel() + b.numel():
            m.refuse("one matrix has more elements than the two")

    def rewrite(self, m, x, a, c, b, d):
        w = m.fetch(b)
        return ops.linear(x, m.changed(b, w @ m.fetch(a)), m.changed(d, w @ m.fetch(c) + m.fetch(d)))


@register_pass(stage="fuse")
def merge_linears(gm):
    return apply_rules(gm, [TwoLinears()])
