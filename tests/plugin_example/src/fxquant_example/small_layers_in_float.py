"""Layers of few weights stay in float: they cost little there, and a quantize may cost more than it saves."""

from dataclasses import dataclass

from fxquant.plugin import leave_float, op_of, register_pass


@register_pass(stage="annotate", before="annotate_int8", optional=True)
@dataclass(frozen=True)
class SmallLayersInFloat:
    """Keeps layers of fewer than `weights` weights in float."""

    weights: int = 1024

    def __call__(self, gm):
        for node in gm.graph.nodes:
            row = op_of(node)
            if row is None or row.weight is None:
                continue
            number = row.bind(node)[row.weight].meta["shape"].numel()
            if number < self.weights:
                leave_float(node, f"SmallLayersInFloat: it has {number} weights")
        return gm
