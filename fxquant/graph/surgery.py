"""The only file that edits fx nodes: every pass inserts, replaces and removes through these functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node, Proxy
from torch.fx.node import map_arg
from torch.fx.proxy import GraphAppendingTracer

from fxquant.graph.expect import CHECKS
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.tree import drop_unused, free_path, owner_at, value_at
from fxquant.graph.watching import is_statistic

# What a new node takes over from the node it replaces: the value is the same value, so these still hold.
_VALUE_META = ("shape", "dtype", "quant", "qconfig", "qparams", "conversion")


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


def add_module(gm: GraphModule, path: str, module: nn.Module) -> str:
    """Registers `module` under the dotted `path`, or under path_1, path_2 … if that is taken. Returns its path."""
    path = free_path(gm, path)
    gm.add_submodule(path, module)
    return path


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Registers `module` under the dotted `path`, which must be free."""
    owner, _, name = path.rpartition(".")
    owner_at(root, owner).add_module(name, module)


def constant(gm: GraphModule, name: str, tensor: Tensor, near: Node) -> Node:
    """Registers `tensor` as a buffer called `name` (dotted; made unique) and returns a node in front of `near`."""
    name = free_path(gm, name)
    set_constant(gm, name, tensor)
    return get_attr(gm, name, near)


def own_constant(gm: GraphModule, node: Node, name: str, tensor: Tensor) -> Node:
    """The same, called `name` within the module of the user's model that `node` comes from."""
    origin = origin_of(node)
    return constant(gm, f"{origin.local_path}.{name}" if origin and origin.local_path else name, tensor, node)


def get_attr(gm: GraphModule, name: str, near: Node) -> Node:
    """A node in front of `near` that fetches the attribute `name`."""
    with gm.graph.inserting_before(near):
        node = gm.graph.get_attr(name)
    tensor = fetch(gm, node)
    node.meta.update(shape=tensor.shape, dtype=tensor.dtype)
    return node


def parameter(gm: GraphModule, name: str, tensor: Tensor, near: Node, replacing: bool) -> Node:
    """Registers `tensor` as a parameter called `name` (dotted) and returns a node in front of `near` that fetches it.

    If the name is taken, the parameter takes over if `replacing`; else another name is found.
    """
    name = name if replacing else free_path(gm, name)
    set_parameter(gm, name, tensor)
    return get_attr(gm, name, near)


def set_parameter(gm: nn.Module, target: str, tensor: Tensor) -> None:
    """Makes the tensor at the dotted path `target` a new parameter; what others hold of the old one stays as it is."""
    path, _, name = target.rpartition(".")
    owner = owner_at(gm, path)
    owner._buffers.pop(name, None)
    owner.register_parameter(name, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))


def hand_over(gm: GraphModule, root: nn.Module, path: str) -> None:
    """Registers the module or tensor at the dotted `path` of `gm` under that path of `root`; a module leaves `gm`."""
    owner, _, name = path.rpartition(".")
    value = getattr(gm.get_submodule(owner), name)
    if isinstance(value, nn.Module):
        gm.delete_submodule(path)
        place(root, path, value)
    else:
        set_constant(root, path, value)


def set_constant(gm: nn.Module, target: str, tensor: Tensor) -> None:
    """Makes the attribute at the dotted path `target` a buffer that holds `tensor`, whatever it was before."""
    path, _, name = target.rpartition(".")
    owner = owner_at(gm, path)
    if name in owner._parameters:
        del owner._parameters[name]
    elif hasattr(owner, name) and name not in owner._buffers:
        delattr(owner, name)
    owner.register_buffer(name, tensor)


def fetch(gm: GraphModule, node: Node) -> Tensor:
    """The tensor that a get_attr node stands for."""
    value = value_at(gm, str(node.target))
    if not isinstance(value, Tensor):
        raise TypeError(f"{node.target} is not a tensor")
    return value.detach()


def clean(gm: GraphModule) -> GraphModule:
    """Removes dead nodes and attributes that no node uses any more; checks and recompiles the graph."""
    gm.graph.eliminate_dead_code(is_impure_node=_is_kept)
    used = {str(node.target) for node in gm.graph.nodes if node.op in ("get_attr", "call_module")}
    drop_unused(gm, "", used)
    gm.graph.lint()
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


def tensors(values: Iterable[Any]) -> list[Node]:
    """The nodes among `values` that stand for tensors."""
    return [v for v in values if isinstance(v, Node) and is_tensor(v)]


def is_tensor(node: Node) -> bool:
    """Whether the node's value is a tensor, as the example inputs showed."""
    return node.op == "get_attr" or isinstance(node.meta.get("dtype"), torch.dtype)


def rename_module(gm: GraphModule, node: Node, path: str) -> None:
    """Moves the module that `node` calls to `path`, or to path_1, path_2 … if that is taken."""
    module = gm.get_submodule(str(node.target))
    gm.delete_submodule(str(node.target))
    node.target = add_module(gm, path, module)
    node._rename(node.target.replace(".", "_"))
