"""Each call is recorded together with its value for the example, which the user's code goes on with.

meta["shape"], meta["dtype"]   what describes that value, of every node
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import Node, Proxy
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from fxquant.errors import InputError
from fxquant.graph.assemble import assembly
from fxquant.graph.aten import as_written
from fxquant.graph.called import called, is_called
from fxquant.graph.calls import copied
from fxquant.graph.expect import expect
from fxquant.graph.plain_tracer import PlainTracer
from fxquant.graph.shapes import asks_shape, complaint, describe
from fxquant.graph.source import running_line
from fxquant.graph.trace_error import CONTROL_FLOW, NUMBER, Untraceable
from fxquant.graph.value_proxy import ValueProxy, values_in

# Answers that are the same for every input, so that they are no values of the graph.
_ANSWERS = {"dim", "ndimension", "is_floating_point", "is_complex", "is_contiguous", "element_size", "get_device"}
_ANSWER_TYPES = (str, torch.dtype, torch.device, torch.layout, torch.memory_format)
_OF_WEIGHTS = {"size", "shape", "numel", "nelement", "stride"}


class ValueTracer(PlainTracer):
    """Records with values, and with checks of the Python numbers that the code goes on with.

    `fixed_sizes`: the numbers that the graph holds for alone, and where. `computing`: whether a value is computed now,
    and nothing recorded.
    """

    def __init__(self, leaf_names: Collection[str] = (), leaf_classes: Collection[type] = (), part: str = "") -> None:
        super().__init__(leaf_names, leaf_classes, part)
        self.fixed_sizes: list[str] = []
        self.computing = False

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Proxy]) -> Any:
        if self.computing or type(attr_val) is ValueProxy:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Any:
        if isinstance(target, OpOverload):  # of a graph that torch.export made
            written = as_written(target, args, kwargs)
            if written is None:
                return None
            kind, target, args, kwargs = written
            name = None
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, type_expr)
        example = self._example(node, args, kwargs)
        node.meta["shape"], node.meta["dtype"] = describe(example)
        if self._is_answer(node, example):
            self.graph.erase_node(node)
            return example
        return ValueProxy(node, self, example, self._is_from_data(node, example, (args, kwargs)))

    def _is_answer(self, node: Node, example: Any) -> bool:
        if not is_called(node):
            return False
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if name in _ANSWERS or isinstance(example, _ANSWER_TYPES):
            return True
        of_weight = bool(node.args) and isinstance(node.args[0], Node) and node.args[0].op == "get_attr"
        return of_weight and name in _OF_WEIGHTS and not isinstance(example, Tensor)

    def _is_from_data(self, node: Node, example: Any, inputs: Any) -> bool:
        """Whether the value is a Python one that depends on the numbers in a tensor."""
        if isinstance(example, Tensor) or asks_shape(node) or not node.op.startswith("call_"):
            return False
        if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(example)):
            return False
        return any(isinstance(p._example, Tensor) or p._from_data for p in values_in(inputs))

    def _example(self, node: Node, args: Any, kwargs: Any) -> Any:
        """What the node gives for the example inputs."""
        if node.op == "get_attr":
            return copied(_fetch(self.root, str(node.target)))  # the graph may write into it
        args, kwargs = map_aggregate(args, _example_of), map_aggregate(kwargs, _example_of)
        before, self.computing = self.computing, True
        try:
            is_module = node.op == "call_module"
            return self.run_module(str(node.target), args, kwargs) if is_module else called(node, args, kwargs)
        except InputError:
            raise
        except Exception as error:
            raise InputError(complaint(node, error)) from error
        finally:
            self.computing = before

    def run_module(self, path: str, args: Any, kwargs: Any) -> Any:
        """What the module at `path` gives for these values."""
        return self.root.get_submodule(path)(*args, **kwargs)

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Node:
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if kind == "get_attr":
            node.meta["shape"], node.meta["dtype"] = describe(_fetch(self.root, str(target)))
        return node

    def create_arg(self, a: Any) -> Any:
        if issubclass(type(a), Proxy):
            return a.node
        if is_dataclass(a) and not isinstance(a, type) and values_in(dict(vars(a))):
            fields = {name: self.create_arg(value) for name, value in vars(a).items() if name in a.__dataclass_fields__}
            node = self.create_node("call_function", type(a), (), fields)
            node.meta["shape"], node.meta["dtype"] = None, None
            return node
        try:
            return super().create_arg(a)
        except NotImplementedError:
            made = assembly(a)
            if made is None:
                raise
        name = self.get_fresh_qualname("_assemble")
        self.root.add_module(name, made[0])
        node = self.create_node("call_module", name, tuple(self.create_arg(value) for value in made[1]), {})
        node.meta.update(shape=None, dtype=None, reason="it only puts results together")
        return node

    def fixed(self, proxy: ValueProxy, kind: type) -> Any:
        """The Python number that `proxy` is; the graph then holds for that number only."""
        example = proxy._example
        if not isinstance(example, (bool, int, float)) or proxy._from_data or _is_batch_size(proxy.node):
            raise Untraceable(NUMBER)
        self._expect(proxy, example)
        return kind(example)

    def to_bool(self, obj: Any) -> bool:
        if isinstance(obj._example, Tensor) or obj._from_data:
            raise Untraceable(CONTROL_FLOW)
        self._expect(obj, bool(obj._example))
        return bool(obj._example)

    def _expect(self, proxy: ValueProxy, value: Any) -> None:
        line = running_line(sys._getframe(3), type(self).capture.__code__)
        what = f"`{line.text}` ({line.place})" if line else proxy.node.name
        self.create_proxy("call_function", expect, (proxy, value, what), {})
        if not isinstance(value, bool):
            self.fixed_sizes.append(f"{value} in {what}")


def _example_of(value: Any) -> Any:
    if type(value) is ValueProxy:
        return value._example
    return value.clone() if isinstance(value, Tensor) else value  # a constant, which the call may write into


def _fetch(root: nn.Module, path: str) -> Any:
    value: Any = root
    for name in path.split("."):
        value = value._modules.get(name, None) if name in value._modules else _attribute(value, name)
    return value


def _attribute(module: nn.Module, name: str) -> Any:
    for table in (module._parameters, module._buffers, vars(module)):
        if name in table:
            return table[name]
    return getattr(module, name)


def _is_batch_size(node: Node) -> bool:
    """Whether `node` asks a value of the graph for its dimension 0, which is never fixed."""
    if node.target == "size":
        return bool(node.args[1:] == (0,) or node.kwargs.get("dim") == 0)
    index = node.args[1] if len(node.args) > 1 else None
    source = node.args[0] if node.args else None
    return bool(index == 0) and isinstance(source, Node) and asks_shape(source)
