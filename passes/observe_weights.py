"""weight -> observer(weight) for every weight that is kept in integers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import integer_weights
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.graph.weights import rounded_weight, scale_axis
from fxquant.ops.op import Op, op_of
from fxquant.qparams import QParams


@register_pass(stage="observe")
def observe_weights(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None:
            continue
        for role in integer_weights(node):
            weight: Node = row.bind(node)[role]
            observer = _observer(gm, node, row, weight)
            observer.where = f"the {role} of {where(node)}"
            name = surgery.add_module(gm, f"{weight.target}_observer", observer)
            surgery.replace_in(surgery.call_module(node, name, weight), weight, [node])
    return surgery.clean(gm)


def _observer(gm: GraphModule, node: Node, row: Op, weight: Node) -> Any:
    """What the qconfig makes, with scales along the axis that the kernels take."""
    return observer_along(
        node.meta["qconfig"].qconfig.weight, scale_axis(row, surgery.fetch(gm, weight), row.bind(node))
    )


def observer_along(factory: Any, axis: int) -> Any:
    """What `factory` makes; if it has a scale for each index of a dimension, of `axis`."""
    observer = factory()
    if getattr(observer, "ch_axis", None) in (None, axis) or not hasattr(factory, "with_args"):
        return observer
    return factory.with_args(ch_axis=axis)()


def rounded(factory: Any, weight: Tensor, axis: int = 0) -> tuple[Tensor, QParams]:
    """The integers of a symmetric `weight`, by what `factory` makes along `axis`, and their qparams."""
    observer = observer_along(factory, axis)
    observer(weight.detach().float())
    q: QParams = observer.qparams()
    if isinstance(q.zero_point, Tensor):
        q = q._replace(zero_point=0)
    return rounded_weight(weight.detach(), q), q
