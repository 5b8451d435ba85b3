"""Nodes: what is inserted, replaced, moved and erased."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.fx import Graph, Node, Proxy
from torch.fx.node import map_arg
from torch.fx.proxy import GraphAppendingTracer

from fxquant.graph.expect import CHECKS
from fxquant.graph.origin import Origin

# What a new node takes over from the node it replaces: the value is the same value, so these still hold.
_VALUE_META = ("shape", "dtype", "quant", "qconfig", "qparams", "conversion", "rescaling")


class _RecordingTracer(GraphAppendingTracer):
    """Appends to a graph at its insertion point and remembers what it appended."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.recorded: list[Node] = []

    def create_node(self, *args: Any, **kwargs: Any) -> Node:
        node = super().create_node(*args, **kwargs)
        self.recorded.append(node)
        return node


def emit(
    before: Node,
    build: Callable[..., Any],
    *args: Any,
    origin: Origin | None = None,
    sources: Sequence[Node] = (),
    **kwargs: Any,
) -> Any:
    """Runs `build(*args, **kwargs)`, nodes standing as proxies, and inserts what it records in front of `before`.

    New nodes get `origin`, or else the first origin among `sources`, the nodes whose work they take over. Returns what
    `build` returns, with nodes in place of proxies.
    """
    graph = before.graph
    tracer = _RecordingTracer(graph)

    def proxy(node: Node) -> Any:
        return Proxy(node, tracer)

    with graph.inserting_before(before):
        result = build(*map_arg(args, proxy), **map_arg(kwargs, proxy))
        output = tracer.create_arg(result)
    for node in tracer.recorded:
        _stamp(node, origin, sources)
    return output


def _stamp(node: Node, origin: Origin | None, sources: Sequence[Node]) -> None:
    origins = [origin] if origin else [o for s in sources for o in absorbed_origins(s)]
    if origins:
        node.meta["origin"] = origins[0]
        node.meta["absorbed"] = tuple(dict.fromkeys(origins))
    estimates = [e for s in sources for e in s.meta.get("estimates", ())]
    if estimates:
        node.meta["estimates"] = tuple(dict.fromkeys(estimates))


def absorbed_origins(node: Node) -> tuple[Origin, ...]:
    """The origins of everything that was folded into `node`, in the order in which the user's model runs it."""
    if "absorbed" in node.meta:
        return tuple(node.meta["absorbed"])
    return (node.meta["origin"],) if "origin" in node.meta else ()


def replace(node: Node, new: Node) -> None:
    """Lets `new` stand for `node` everywhere, and erases `node`."""
    for key in _VALUE_META:
        if key in node.meta:
            new.meta.setdefault(key, node.meta[key])
    for key in ("origin", "absorbed", "estimates"):
        if key in node.meta and key not in new.meta and new.op != "placeholder":
            new.meta[key] = node.meta[key]
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    node.graph.erase_node(node)


def move_behind(node: Node) -> None:
    """Moves what reads `node`, and stands in front of it, behind it, and what reads that, and so on."""
    for user in list(node.users):
        if user < node:
            node.append(user)
            move_behind(user)


def depends(values: Any, nodes: Iterable[Node]) -> bool:
    """Whether any of the graph values that `values` holds is computed from one of `nodes`."""
    waiting: list[Node] = []
    map_arg(values, waiting.append)
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.all_input_nodes)
    return not seen.isdisjoint(nodes)


def erase_unused(nodes: Iterable[Node]) -> None:
    """Erases those of `nodes`, given in the graph's order, that nothing reads any more."""
    for node in reversed(list(nodes)):
        if not node._erased and not node.users:
            node.graph.erase_node(node)


def replace_after(node: Node, new: Node) -> None:
    """Lets `new` stand for `node` in everything that comes behind `new`."""
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user > new)


def replace_in(new: Node, node: Node, users: Iterable[Node]) -> None:
    """Lets `new` stand for `node` in `users` only."""
    for user in users:
        user.replace_input_with(node, new)


def put(user: Node, node: Node, value: Any) -> None:
    """Lets `value`, a number or a tuple of nodes, stand for `node` in the arguments of `user`."""

    def put_in(each: Node) -> Any:
        return value if each is node else each

    user.args, user.kwargs = map_arg(user.args, put_in), map_arg(user.kwargs, put_in)


def give(node: Node, arguments: dict[str, Any]) -> None:
    """Lets `node` call its op with these arguments, in the order of its parameters."""
    node.args, node.kwargs = tuple(arguments.values()), {}


def retarget(node: Node, target: Any, kwargs: dict[str, Any]) -> None:
    """Lets `node` call `target` with other keyword arguments."""
    node.target = target
    node.kwargs = kwargs
    if not isinstance(target, str):
        node.op = "call_function"


def call_module(before: Node, target: str, *args: Any, sources: Sequence[Node] = ()) -> Node:
    """Inserts a call of the submodule `target` in front of `before`."""
    with before.graph.inserting_before(before):
        node = before.graph.call_module(target, args)
    _stamp(node, None, sources)
    return node


def insert_after(node: Node, build: Callable[[Node], Node]) -> Node:
    """Puts what `build(node)` inserts right behind `node`, and routes its other uses, but for checks, through it."""
    users = [user for user in node.users if user.target not in CHECKS]
    new = build(node)
    for user in users:
        user.replace_input_with(node, new)
    return new


def duplicate(node: Node) -> Node:
    """Inserts another node, right behind `node`, that computes the same."""
    with node.graph.inserting_after(node):
        copy = node.graph.node_copy(node)
    copy.meta = dict(node.meta)
    return copy


def next_node(node: Node) -> Node:
    """The node behind `node` in the graph's order, skipping placeholders, which stay together, and checks."""
    following = node.next
    while following.op == "placeholder" or following.target in CHECKS:
        following = following.next
    return following


def tensors(values: Iterable[Any]) -> list[Node]:
    """The nodes among `values` that stand for tensors."""
    return [v for v in values if isinstance(v, Node) and is_tensor(v)]


def is_tensor(node: Node) -> bool:
    """Whether the node's value is a tensor, as the example inputs showed."""
    return node.op == "get_attr" or isinstance(node.meta.get("dtype"), torch.dtype)
