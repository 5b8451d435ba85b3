"""x -> observer(x) for every value that annotate wants watched, one observer a group of values."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant.fake_quantize import FakeQuantizeBase, FixedQParamsFakeQuantize
from fxquant.fake_quantize.fake_quantize import observer_within
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.observer import (
    FixedQParamsObserver,
    MovingAverageMinMaxObserver,
    PassiveObserver,
    default_histogram_observer,
)
from fxquant.ops.op import op_of


@register_pass(stage="observe")
def observe_activations(gm: GraphModule) -> GraphModule:
    for index, members in sorted(_groups(gm).items()):
        watched = [node for node in members if quant_of(node).observe]
        observer: Any = _observer(gm, watched)
        observer.where = ", ".join(where(node) for node in watched[:3])
        name = surgery.add_module(gm, f"activation_post_process_{index}", observer)
        for node in watched:
            surgery.insert_after(node, lambda x, name=name: surgery.call_module(surgery.next_node(x), name, x))  # type: ignore[misc]
        for node in members:
            node.meta["observer"] = name
    return surgery.clean(gm)


def _groups(gm: GraphModule) -> dict[int, list[Node]]:
    groups: dict[int, list[Node]] = defaultdict(list)
    for node in gm.graph.nodes:
        index = quant_of(node).group
        if index is not None:
            groups[index].append(node)
    return groups


def _observer(gm: GraphModule, watched: list[Node]) -> nn.Module:
    """The observer of a group: the fixed range if maths gives it and no other value joins, else a qconfig's."""
    row = op_of(watched[0])
    made = _measuring(gm, watched)
    if len(watched) == 1 and row is not None and row.fixed is not None and quant_of(watched[0]).int8:
        fixed = FixedQParamsObserver.with_args(scale=row.fixed[0], zero_point=row.fixed[1])
        return FixedQParamsFakeQuantize(fixed) if isinstance(made, FakeQuantizeBase) else fixed()
    learns = observer_within(made)
    if isinstance(learns, MovingAverageMinMaxObserver):
        learns.values = len(watched)
        learns.warm_up = round(1 / max(learns.averaging_constant, 1e-3))
    return made


def _measuring(gm: GraphModule, watched: list[Node]) -> nn.Module:
    """From the qconfig of the first op that computes one of the values in int8, or else of the first that reads one.

    Not from one that says only what a fixed range, or the input's, is.
    """
    computed = [node for node in watched if quant_of(node).int8]
    readers = [user for node in watched for user in node.users if quant_of(user).int8]
    matches = [node.meta["qconfig"] for node in computed + readers + watched if "qconfig" in node.meta]
    qconfigs = [*(match.qconfig for match in matches), gm.meta["qconfig_mapping"].global_qconfig]
    made = [qconfig.activation() for qconfig in qconfigs if qconfig is not None] or [default_histogram_observer()]
    found: nn.Module = next((each for each in made if _measures(each)), made[0])
    return found


def _measures(observer: Any) -> bool:
    learns = observer_within(observer)
    return not observer.is_dynamic and not isinstance(learns, (FixedQParamsObserver, PassiveObserver))
