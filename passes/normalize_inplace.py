"""x.relu_(); use(x)      ->   y = x.relu(); use(y)
x[i] = v; use(x)        ->   y = set_item(x, i, v); use(y)
x[i].relu_(); use(x)    ->   y = set_item(x, i, x[i].relu()); use(y)      of an index that makes a view

After a write into x, every later use of x means the result. Where another name of the same memory (a view, or what x
is a view of) is used later, no rewiring can express the write; that is refused with a TraceError. A write into a
buffer or parameter is the model's state and stays as it is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from fxquant import ops
from fxquant.errors import TraceError
from fxquant.graph import surgery
from fxquant.graph.origin import origin_of, where
from fxquant.graph.pipeline import register_pass

_OPERATORS: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.setitem: ops.set_item,
}
_FILLS: dict[str, Callable[..., Any]] = {"zero_": torch.zeros_like, "fill_": torch.full_like}
_NOT_WRITING = ("requires_grad_",)
_OTHER_MEANING = ("bernoulli_", "resize_")  # without the underscore, these names compute something else

# Calls whose result may share memory with their first argument.
_VIEWS = {
    *("view", "view_as", "reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "movedim", "t"),
    *("squeeze", "unsqueeze", "expand", "expand_as", "narrow", "select", "chunk", "split", "unbind", "getitem"),
    *("contiguous", "detach", "to", "float", "cpu", "dropout", "Flatten", "Unflatten", "Identity"),
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "getattr", "__getitem__"),
}


@register_pass(stage="normalize")
def normalize_inplace(gm: GraphModule) -> GraphModule:
    called = {str(node.target) for node in gm.graph.nodes if node.op == "call_module"}
    in_place_modules = {name for name in called if getattr(gm.get_submodule(name), "inplace", False) is True}
    for node in list(gm.graph.nodes):
        written = _written(node, in_place_modules)
        if written is None:
            continue
        _check_state(gm, written, node)
        if node.target is operator.setitem:
            node.meta.update({key: written.meta[key] for key in ("shape", "dtype") if key in written.meta})
        surgery.retarget(node, *_out_of_place(node))
        if node.meta.get("shape", ()) is None:
            continue  # a number, such as n += 1: other names of it keep the old one
        stored = _stored(gm, written, node)
        _check_views(gm, written, node, stored)
        surgery.replace_after(written, node if stored is None else _piece(stored, node))
    for name in in_place_modules:
        gm.get_submodule(name).inplace = False  # type: ignore[assignment]
    gm.recompile()
    return gm


def _stored(gm: GraphModule, written: Node, value: Node) -> Node | None:
    """If `written` is a piece x[i] of a tensor: x with `value` in that place, which then stands for x."""
    x, index = (*written.args, None, None)[:2]
    if written.target not in (operator.getitem, "__getitem__") or not isinstance(x, Node) or _is_view(gm, x):
        return None
    if not isinstance(x.meta.get("shape"), torch.Size) or not _makes_view(index):
        return None
    own = (user for user in value.users if user.target is operator.setitem and user.args == (x, index, value))
    stored: Node | None = next(own, None)  # of x[i] += 1
    if stored is None:
        stored = surgery.emit(value.next, ops.set_item, x, index, value, sources=[value])
    surgery.retarget(stored, ops.set_item, {})
    _describe_as(stored, x)
    surgery.replace_after(x, stored)
    return stored


def _piece(stored: Node, value: Node) -> Node:
    """What the place in `stored` that `value` was put into holds: a view, which takes part in what is written later."""
    piece: Node = surgery.emit(stored.next, operator.getitem, stored, stored.args[1], sources=[value])
    _describe_as(piece, value)
    surgery.replace_in(piece, value, [user for user in value.users if user is not stored])
    return piece


def _describe_as(node: Node, other: Node) -> None:
    """Gives `node` the shape and dtype of `other`, as far as they are known."""
    node.meta.update({key: other.meta[key] for key in ("shape", "dtype") if key in other.meta})


def _makes_view(index: Any) -> bool:
    """Whether indexing by it gives a view and not a copy: it has integers and slices alone."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (int, slice)) for part in parts)


def _written(node: Node, in_place_modules: set[str]) -> Node | None:
    """The value that `node` writes into, if any."""
    first = node.args[0] if node.args else node.kwargs.get("input")
    out = node.kwargs.get("out")
    if node.op in ("call_function", "call_method") and isinstance(out, Node):
        return out
    if not isinstance(first, Node) or not node.op.startswith("call_"):
        return None
    if node.op == "call_module":
        return first if node.target in in_place_modules else None
    writes = node.target in _OPERATORS or _ends_in_underscore(node) or node.kwargs.get("inplace") is True
    return first if writes else None


def _ends_in_underscore(node: Node) -> bool:
    """Whether torch's naming rule says that the call writes into its first argument."""
    name = _name(node.target)
    of_torch = isinstance(node.target, str) or node.target in (getattr(torch, name, None), getattr(F, name, None))
    return of_torch and name.endswith("_") and not name.startswith("_") and name not in _NOT_WRITING


def _out_of_place(node: Node) -> tuple[Any, dict[str, Any]]:
    """The target and keyword arguments that compute the same without writing; unchanged where torch has none."""
    kwargs = {key: value for key, value in node.kwargs.items() if key not in ("inplace", "out")}
    if node.op == "call_module":
        return node.target, kwargs
    if node.target in _OPERATORS:
        return _OPERATORS[node.target], kwargs
    if not _ends_in_underscore(node) or _name(node.target) in _OTHER_MEANING:
        return node.target, kwargs
    if (fill := _FILLS.get(_name(node.target))) is not None:
        return fill, kwargs
    name = _name(node.target).removesuffix("_")
    if isinstance(node.target, str):
        return name if hasattr(Tensor, name) else node.target, kwargs
    return getattr(torch, name, None) or getattr(F, name, node.target), kwargs


def _check_state(gm: GraphModule, written: Node, writer: Node) -> None:
    """Raises TraceError if `written` is a parameter or buffer of the user, or its view, not a tensor of forward's."""
    while _is_view(gm, written):
        written = written.args[0]  # type: ignore[assignment]
    if written.op == "get_attr" and not str(written.target).startswith("_tensor_constant"):
        raise TraceError(f"{where(writer)} writes into {written.target}, which the model keeps", _scope(writer))


def _check_views(gm: GraphModule, written: Node, writer: Node, stored: Node | None) -> None:
    """Raises TraceError if what reads another name of the memory of `written` would miss what `writer` wrote there.

    `stored`: what stands for the tensor that `written` is a piece of.
    """
    for name, reader in _other_readers(gm, written):
        if reader is not stored and name < writer < reader and reader.meta.get("shape", ()) is not None:
            raise TraceError(
                f"{where(writer)} writes into memory that {where(name)} shares and that {where(reader)} reads later; "
                "write the result into a new tensor instead (x = x + 1, not x += 1)",
                _scope(writer),
            )


def _scope(node: Node) -> str:
    """The path, within the graph's root, of the module whose code contains the call."""
    origin = origin_of(node)
    if origin is None:
        return ""
    return origin.local_path.rpartition(".")[0] if origin.is_module_call else origin.local_path


def _other_readers(gm: GraphModule, node: Node) -> Iterator[tuple[Node, Node]]:
    """Other values that may share memory with `node`, each with every node that reads it."""
    yield from _readers_of_views(gm, node)
    while _is_view(gm, node):
        below, node = node, node.args[0]  # type: ignore[assignment]
        for user in node.users:
            if user is below or _is_other_piece(node, below, user):
                continue
            yield node, user
            if _is_view(gm, user):
                yield from ((user, reader) for reader in user.users)
                yield from _readers_of_views(gm, user)


def _readers_of_views(gm: GraphModule, node: Node) -> Iterator[tuple[Node, Node]]:
    for user in node.users:
        if _is_view(gm, user) and user.args[0] is node:
            yield from ((user, reader) for reader in user.users)
            yield from _readers_of_views(gm, user)


def _is_other_piece(several: Node, piece: Node, user: Node) -> bool:
    """Whether `several` is what chunk or split made, and `user` takes another of its tensors than `piece` does."""
    if isinstance(several.meta.get("shape"), torch.Size) or user.target is not operator.getitem:
        return False
    return user.args[1] != piece.args[1]


def _is_view(gm: GraphModule, node: Node) -> bool:
    if not node.args or not isinstance(node.args[0], Node):
        return False
    if node.op == "call_module":
        return type(gm.get_submodule(str(node.target))).__name__ in _VIEWS
    return node.op in ("call_function", "call_method") and _name(node.target) in _VIEWS


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", "")
