"""Symbolic tracing that carries the example's values along: one run of forward records the graph and sees its shapes.

Each call carries meta["origin"] (the user's module, spelling and line) and meta["shape"], meta["dtype"]. A submodule
whose code cannot be recorded becomes a call of that module as it is; `python` says which, and why.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import Graph, Node, Proxy
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from fxquant.errors import InputError
from fxquant.graph.assemble import Assemble, assembly
from fxquant.graph.aten import as_written
from fxquant.graph.calls import Call, calls_made_by, copied
from fxquant.graph.expect import NEEDED, expect, expect_options
from fxquant.graph.inputs import BoundCall, is_constant
from fxquant.graph.plain_tracer import PlainTracer
from fxquant.graph.recording import recording
from fxquant.graph.shapes import asks_shape, complaint, describe, has_extremes
from fxquant.graph.source import running_line
from fxquant.graph.trace_error import CONTROL_FLOW, NUMBER, Failure, Untraceable, failure
from fxquant.graph.transformer import plain_transformers
from fxquant.graph.value_proxy import ValueProxy, values_in

# Answers that are the same for every input, so that they are no values of the graph.
_ANSWERS = {"dim", "ndimension", "is_floating_point", "is_complex", "is_contiguous", "element_size", "get_device"}
_ANSWER_TYPES = (str, torch.dtype, torch.device, torch.layout, torch.memory_format)
_OF_WEIGHTS = {"size", "shape", "numel", "nelement", "stride"}


@dataclass
class PythonCall:
    """A module that is called as it is: why, and what the example made of it."""

    failure: Failure
    call: Call
    children: list[Call] = field(default_factory=list)


class Tracer(PlainTracer):
    """Records with values, fixed options and checks; a module whose code cannot be recorded is called as it is.

    `arguments`: the example's, by parameter of forward. `part`: the path in the user's model of what is traced.
    `forward`, if given, is called in place of the root's. `as_they_are`: modules that are not to be recorded, and why.
    """

    proxy_buffer_attributes = True

    def __init__(
        self,
        arguments: BoundCall,
        leaf_names: Collection[str] = (),
        leaf_classes: Collection[type] = (),
        part: str = "",
        forward: Callable[..., Any] | None = None,
        as_they_are: Mapping[str, Exception] | None = None,
    ) -> None:
        super().__init__(leaf_names, leaf_classes, part)
        self.arguments = arguments
        self.forward = forward
        self.as_they_are = dict(as_they_are or {})
        self.python: dict[str, PythonCall] = {}
        self.fixed_sizes: list[str] = []
        self._attributes: dict[str, Proxy] = {}
        self._failing: dict[int, tuple[str, type]] = {}
        self._computing = False

    def capture(self, root: nn.Module) -> Graph:
        """The graph of `root`. Raises InputError if the example does not go through, else whatever its code raises."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _restored(root), plain_transformers(), recording(self):
            graph = self.trace(root)
        *_, output = graph.nodes
        result = output.args[0]
        for key in ("shape", "dtype"):
            output.meta[key] = result.meta.get(key) if isinstance(result, Node) else None
        graph._tracer_cls = None  # a pickled GraphModule is read back by torch.fx's own tracer
        return graph

    def why(self, root: nn.Module, error: Exception) -> Failure:
        """What made `capture` raise `error`."""
        return failure(*self._failing.get(id(error), ("", type(root))), error)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        bound, signature = dict(self.arguments.arguments), self.arguments.signature
        options: list[tuple[Any, Any]] = []
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                bound[name] = tuple(self._input(f"{name}_{i}", v, options) for i, v in enumerate(bound.get(name, ())))
            elif parameter.kind is parameter.VAR_KEYWORD:
                bound[name] = {key: self._input(key, v, options) for key, v in bound.get(name, {}).items()}
            elif name in bound:
                bound[name] = self._input(name, bound[name], options, parameter.default)
            elif is_constant(parameter.default):
                self._input(name, parameter.default, options, parameter.default)
        if options:
            given = tuple(proxy for proxy, _ in options)
            names = tuple(proxy.node.target for proxy in given)
            self.create_proxy("call_function", expect_options, (names, given, tuple(fix for _, fix in options)), {})
        args, kwargs = self.arguments.like_given(bound)
        call = self.forward or root_fn
        # A lambda: torch.fx would copy the annotation of a def's result into the graph, even one that is only a string.
        return lambda *args: call(*args, **kwargs), [self.root, *args]

    def _input(self, name: str, value: Any, options: list[tuple[Any, Any]], default: Any = inspect._empty) -> Any:
        """A placeholder; of an option, the value itself, which is checked whenever the graph runs."""
        strange = next((v for v in pytree.tree_leaves(value) if not isinstance(v, Tensor) and not is_constant(v)), None)
        if strange is not None:
            raise Untraceable(f"its argument {name} holds a {type(strange).__name__}, which a graph cannot follow")
        option = is_constant(value)
        optional = () if default is inspect._empty and not option else (value if option else None,)
        node = self.create_node("placeholder", name, optional, {})
        node.meta["shape"], node.meta["dtype"] = describe(value)
        node.meta["extreme"] = isinstance(value, Tensor) and has_extremes(value)
        proxy = ValueProxy(node, self, copied(value), from_data=False)
        if optional:
            options.append((proxy, value if option else NEEDED))
        return value if option else proxy

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._computing:
            return forward(*args, **kwargs)
        compiled = m._modules.get("_orig_mod")
        if compiled is not None:  # torch.compile'd
            return compiled(*args, **kwargs)
        last, depth = next(iter(reversed(self.graph.nodes)), None), len(self.module_stack)
        try:
            if (refusal := self.as_they_are.get((self.submodule_paths or {}).get(m, ""))) is not None:
                raise refusal
            return super().call_module(m, forward, args, kwargs)
        except InputError:
            raise
        except Exception as error:
            path = (self.submodule_paths or {}).get(m)
            if path is None or self.is_leaf_module(m, path):
                raise
            self._failing.setdefault(id(error), (self._in_model(path), type(m)))
            self._roll_back(last, depth)
            return self._call_as_it_is(path, error, args, kwargs)

    def _call_as_it_is(self, path: str, error: Exception, args: Any, kwargs: Any) -> Any:
        made = self.python.get(path) or PythonCall(self.why(self.root, error), Call("", (), {}))
        earlier, self.python[path] = self.python.get(path), made
        try:
            return self.create_proxy("call_module", path, args, kwargs)
        except Exception as unrecorded:
            if earlier is None:
                del self.python[path]
            self._failing.setdefault(id(unrecorded), self._failing[id(error)])
            raise

    def _roll_back(self, last: Node | None, depth: int) -> None:
        """Forgets all that was recorded behind `last`."""
        for node in reversed(self.graph.nodes):
            if node is last:
                break
            self.graph.erase_node(node)
        for name in [name for name, proxy in self._attributes.items() if proxy.node._erased]:
            del self._attributes[name]
        for path in [path for path in self.python if not any(n.target == path for n in self.graph.nodes)]:
            del self.python[path]
        while len(self.module_stack) > depth:
            self.module_stack.popitem()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Proxy]) -> Any:
        self._attributes = parameter_proxy_cache
        if self._computing or type(attr_val) is ValueProxy:
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
        if node.op not in ("call_function", "call_method"):
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
        before, self._computing = self._computing, True
        try:
            return self._computed(node, args, kwargs)
        except InputError:
            raise
        except Exception as error:
            raise InputError(complaint(node, error)) from error
        finally:
            self._computing = before

    def _computed(self, node: Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if node.op == "call_function":
            return target(*args, **kwargs)
        module = self.root.get_submodule(target)
        made = self.python.get(target)
        if made is None:
            return module(*args, **kwargs)
        made.call = Call(target, copied(args), copied(kwargs))
        with calls_made_by(module) as children:
            result = module(*args, **kwargs)
        made.children += children
        return result

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Node:
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if kind == "get_attr":
            node.meta["shape"], node.meta["dtype"] = describe(_fetch(self.root, str(target)))
        return node

    def _path_of(self, node: Node) -> str:
        as_it_is = node.op == "call_module" and node.target in self.python
        return str(node.target) if as_it_is else super()._path_of(node)

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
        line = running_line(sys._getframe(3), Tracer.capture.__code__)
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


@contextlib.contextmanager
def _restored(root: nn.Module) -> Iterator[None]:
    """Afterwards, modules hold the attributes that they held before: forward may have stored traced values in them."""
    tables = [
        (table, dict(table)) for m in root.modules() for table in (vars(m), m._parameters, m._buffers, m._modules)
    ]
    try:
        yield
    finally:
        made = {name: value for name, value in vars(root).items() if name.startswith("_tensor_constant")}
        modules = {name: module for name, module in root._modules.items() if isinstance(module, Assemble)}
        for table, before in tables:
            if table.keys() != before.keys() or any(table[key] is not value for key, value in before.items()):
                table.clear()
                table.update(before)
        vars(root).update(made)
        root._modules.update(modules)
