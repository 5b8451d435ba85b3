"""nn.ReLU()(x), F.relu(x), torch.relu(x), x.relu()   ->   ops.relu(x)

Every call with a spelling in the op table becomes the ops that it means, parameters and buffers becoming get_attr nodes
under their state_dict names. Where a call's arguments do not fit, or it computes no tensor, it stays as it is, with the
reason in node.meta["reason"].
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node, Proxy
from torch.fx.proxy import TraceError
from torch.utils import _pytree as pytree

from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.plain_tracer import nn_class
from fxquant.graph.shapes import infer_shapes
from fxquant.ops.op import SPELLINGS

Adapter = Callable[..., Any]


@register_pass(stage="normalize")
def normalize_spellings(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        adapter = None if node._erased else _adapter(gm, node)
        if adapter is None:
            continue
        try:
            new = _emit(gm, node, adapter)
        except TypeError as refusal:
            node.meta["reason"] = str(refusal)
            continue
        except TraceError:  # the adapter asked a proxy for its value
            node.meta["reason"] = "one of its arguments is computed while the model runs; it must be a constant"
            continue
        if isinstance(new, tuple):
            _replace_results(node, new)
        else:
            surgery.replace(node, new)
    return infer_shapes(surgery.clean(gm))


def _adapter(gm: GraphModule, node: Node) -> Adapter | None:
    if "custom" in node.meta:
        return None
    if node.op in ("call_function", "call_method"):
        return SPELLINGS.get(node.target)
    if node.op == "call_module":
        return SPELLINGS.get(nn_class(gm.get_submodule(str(node.target))))
    return None


def _emit(gm: GraphModule, node: Node, adapter: Adapter) -> Node | tuple[Any, ...]:
    if node.op != "call_module" and node.meta.get("shape", ()) is None:
        raise TypeError("it does not compute a tensor")
    args, kwargs = _input_first(node)

    def build(*args: Any, **kwargs: Any) -> Any:
        if node.op != "call_module":
            return adapter(*args, **kwargs)
        return adapter(ModuleView(gm, str(node.target), _tracer((args, kwargs))), *args, **kwargs)

    new: Any = surgery.emit(node, build, *args, sources=(node,), **kwargs)
    if isinstance(new, tuple) and not all(_is_given(new, user) for user in node.users):
        raise TypeError("it does not give all that is taken out of its results")
    if not isinstance(new, (Node, tuple)):
        raise TypeError("it does not compute a tensor")
    return new


def _is_given(results: tuple[Any, ...], user: Node) -> bool:
    """Whether `user` reads several results together, or takes one that there is: a tensor, or several again.

    What is taken and never read may be anything: `y, _ = attention(x, x, x, need_weights=False)`.
    """
    if user.target is not operator.getitem or not user.users:
        return True
    index: Any = user.args[1]
    if not isinstance(index, slice) and index not in range(-len(results), len(results)):
        return False
    result = results[index]
    return isinstance(result, Node) or (isinstance(result, tuple) and all(_is_given(result, u) for u in user.users))


def _replace_results(node: Node, results: tuple[Any, ...]) -> None:
    """Lets what takes one of several results read that one; anything else gets the tuple of them."""
    for user in list(node.users):
        if user.target is not operator.getitem:
            surgery.put(user, node, results)
            continue
        if not user.users:
            surgery.erase_unused([user])
            continue
        result = results[user.args[1]]  # type: ignore[index]
        if isinstance(result, tuple):
            _replace_results(user, result)
        else:
            surgery.replace(user, result)
    surgery.erase_unused([node])


def _input_first(node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """torch's functions take their tensor also as the keyword `input`."""
    kwargs = dict(node.kwargs)
    if node.args or "input" not in kwargs:
        return node.args, kwargs
    return (kwargs.pop("input"),), kwargs


def _tracer(values: Any) -> Any:
    for value in pytree.tree_leaves(values):
        if isinstance(value, Proxy):
            return value.tracer
    raise TypeError("no graph value goes into it")


class ModuleView:
    """What a module's spelling sees of the module: tensors as nodes that fetch them, other attributes as they are."""

    def __init__(self, gm: GraphModule, path: str, tracer: Any) -> None:
        self._gm = gm
        self._module = gm.get_submodule(path)
        self._path = path
        self._tracer = tracer
        if self._module._forward_hooks or self._module._forward_pre_hooks:
            raise TypeError(f"{type(self._module).__name__} has forward hooks")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, nn.Module):
            return ModuleView(self._gm, f"{self._path}.{name}", self._tracer)
        return self._fetch(name, value) if isinstance(value, Tensor) else value

    @property
    def class_name(self) -> str:
        """The name of the torch.nn class that the module is, or extends."""
        kind = nn_class(self._module)
        return kind.__name__ if kind else type(self._module).__name__

    def rows(self, name: str, parts: int) -> list[Any]:
        """The parameter `name` in `parts` of equal size along its first dimension, as parameters of their own."""
        pieces = []
        for i, piece in enumerate(getattr(self._module, name).detach().chunk(parts)):
            part = f"{name}_{i}"
            if not hasattr(self._module, part):
                self._module.register_parameter(part, nn.Parameter(piece.clone()))
            pieces.append(self._fetch(part, piece))
        return pieces

    def _fetch(self, name: str, value: Tensor) -> Any:
        proxy = self._tracer.create_proxy("get_attr", f"{self._path}.{name}", (), {})
        proxy.node.meta.update(shape=value.shape, dtype=value.dtype)
        return proxy
