"""Symbolic tracing that carries the example's values along: one run of forward records the graph and sees its shapes.

Each call carries meta["origin"] (the user's module, spelling and line) and meta["shape"], meta["dtype"]. A submodule
whose code cannot be recorded becomes a call of that module as it is; `python` says which, and why.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node, Proxy
from torch.utils import _pytree as pytree

from fxquant.errors import InputError
from fxquant.graph.assemble import Assemble
from fxquant.graph.calls import Call, calls_made_by, copied
from fxquant.graph.expect import NEEDED, expect_options
from fxquant.graph.inputs import BoundCall, is_constant
from fxquant.graph.recording import recording
from fxquant.graph.shapes import describe, has_extremes
from fxquant.graph.trace_error import Failure, Untraceable, failure
from fxquant.graph.transformer import plain_transformers
from fxquant.graph.value_proxy import ValueProxy
from fxquant.graph.value_tracer import ValueTracer
from fxquant.ops.op import SPELLINGS


@dataclass
class PythonCall:
    """A module that is called as it is: why, and what the example made of it."""

    failure: Failure
    call: Call
    children: list[Call] = field(default_factory=list)


class Tracer(ValueTracer):
    """Records with fixed options; a module whose code cannot be recorded is called as it is, which `python` tells.

    `arguments`: the example's, by parameter of forward. `part`: the path in the user's model of what is traced.
    `forward`, if given, is called in place of the root's. `as_they_are`: modules that are not to be recorded, and why.
    `leaf_functions`: what torch.fx.wrap was called with and is not to be looked into.
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
        leaf_functions: Collection[Callable[..., Any]] = (),
    ) -> None:
        super().__init__(leaf_names, leaf_classes, part)
        self.arguments = arguments
        self.forward = forward
        self.as_they_are = dict(as_they_are or {})
        self.leaf_functions = tuple(leaf_functions)
        self.python: dict[str, PythonCall] = {}
        self._attributes: dict[str, Proxy] = {}
        self._failing: dict[int, tuple[str, type]] = {}

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
        if self.computing:
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

    def call_wrapped(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A call of what torch.fx.wrap keeps torch.fx from looking into, whose code this tracer can mostly record."""
        last, depth = next(iter(reversed(self.graph.nodes)), None), len(self.module_stack)
        if function not in SPELLINGS and function not in self.leaf_functions:
            try:
                return function(*args, **kwargs)
            except InputError:
                raise
            except Exception:  # whatever the user's code raises when it meets a traced value
                self._roll_back(last, depth)
        return self.create_proxy("call_function", function, args, kwargs)

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
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def run_module(self, path: str, args: Any, kwargs: Any) -> Any:
        made = self.python.get(path)
        if made is None:
            return super().run_module(path, args, kwargs)
        made.call = Call(path, copied(args), copied(kwargs))
        with calls_made_by(self.root.get_submodule(path)) as children:
            result = super().run_module(path, args, kwargs)
        made.children += children
        return result

    def _path_of(self, node: Node) -> str:
        as_it_is = node.op == "call_module" and node.target in self.python
        return str(node.target) if as_it_is else super()._path_of(node)


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
