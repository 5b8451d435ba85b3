"""nn.ReLU()(x), F.relu(x), torch.relu(x), x.relu()   ->   ops.relu(x)

Every call with a spelling in the op table becomes the ops that it means, parameters and buffers becoming get_attr nodes
under their state_dict names. Where a call's arguments do not fit, or it computes no tensor, it stays as it is, with the
reason in node.meta["reason"].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
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
        adapter = _adapter(gm, node)
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


def _emit(gm: GraphModule, node: Node, adapter: Adapter) -> Node:
    if node.meta.get("shape", ()) is None:
        raise TypeError("it does not compute a tensor")
    args, kwargs = _input_first(node)

    def build(*args: Any, **kwargs: Any) -> Any:
        if node.op != "call_module":
            return adapter(*args, **kwargs)
        return adapter(ModuleView(gm, str(node.target), _tracer((args, kwargs))), *args, **kwargs)

    new = surgery.emit(node, build, *args, sources=(node,), **kwargs)
    if not isinstance(new, Node):
        raise TypeError("it does not compute a tensor")
    return new


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
        self._module = gm.get_submodule(path)
        self._path = path
        self._tracer = tracer
        if self._module._forward_hooks or self._module._forward_pre_hooks:
            raise TypeError(f"{type(self._module).__name__} has forward hooks")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if not isinstance(value, Tensor):
            return value
        proxy = self._tracer.create_proxy("get_attr", f"{self._path}.{name}", (), {})
        proxy.node.meta.update(shape=value.shape, dtype=value.dtype)
        return proxy
