"""x -> observer(x) for every value that annotate wants watched, one observer a group of values."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.observer import FixedQParamsObserver
from fxquant.ops.op import op_of
from fxquant.qconfig import QConfig


@register_pass(stage="observe")
def observe_activations(gm: GraphModule) -> GraphModule:
    for index, members in sorted(_groups(gm).items()):
        watched = [node for node in members if quant_of(node).observe]
        observer: Any = _observer(watched)
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


def _observer(watched: list[Node]) -> nn.Module:
    """The observer of a group: the fixed range if maths gives it and no other value joins, else the qconfig's."""
    row = op_of(watched[0])
    if len(watched) == 1 and row is not None and row.fixed is not None and quant_of(watched[0]).int8:
        return FixedQParamsObserver(*row.fixed)
    observer: nn.Module = _qconfig(watched).activation()
    return observer


def _qconfig(watched: list[Node]) -> QConfig:
    """The qconfig of the first op that computes one of the values in int8, or else of the first that reads one."""
    computed = [node for node in watched if quant_of(node).int8]
    readers = [user for node in watched for user in node.users if quant_of(user).int8]
    qconfig: QConfig = (computed + readers)[0].meta["qconfig"].qconfig
    return qconfig
