"""A whole graph: what nothing needs goes, and equal ones get equal names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from fxquant.graph.expect import CHECKS
from fxquant.graph.tree import drop_unused
from fxquant.graph.watching import is_statistic

_recompiled_later: ContextVar[bool] = ContextVar("_recompiled_later", default=False)


@contextmanager
def recompiled_later() -> Iterator[None]:
    """Within it `clean` leaves the code of graphs as it was: recompiling takes longer than most passes."""
    token = _recompiled_later.set(True)
    try:
        yield
    finally:
        _recompiled_later.reset(token)


def clean(gm: GraphModule) -> GraphModule:
    """Removes dead nodes and attributes that no node uses any more; checks and recompiles the graph."""
    gm.graph.eliminate_dead_code(is_impure_node=_is_kept)
    used = {str(node.target) for node in gm.graph.nodes if node.op in ("get_attr", "call_module")}
    drop_unused(gm, "", used)
    gm.graph.lint()
    if not _recompiled_later.get():
        gm.recompile()
    return gm


def _is_kept(node: Node) -> bool:
    return node.op in ("placeholder", "output") or node.target in CHECKS or is_statistic(node)


def renumber(gm: GraphModule) -> GraphModule:
    """Names nodes after what they compute, in running order, and fetches each attribute where it is used.

    So equal graphs print alike, however they came about.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}

    def copied(node: Node) -> Node:
        return _copy_into(graph, node, node.args, node.kwargs) if node.op == "get_attr" else copies[node]

    for node in gm.graph.nodes:
        if node.op != "get_attr":
            copies[node] = _copy_into(graph, node, map_arg(node.args, copied), map_arg(node.kwargs, copied))
    gm.graph = graph
    return gm


def _copy_into(graph: Graph, node: Node, args: Any, kwargs: Any) -> Node:
    copy = graph.create_node(node.op, node.target, args, kwargs, type_expr=node.type)
    copy.meta = dict(node.meta)
    return copy
