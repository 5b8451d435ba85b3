"""From an nn.Module to a graph that knows where every node comes from.

    trace(model, example_inputs)   a GraphModule over a copy of the model's parameters; the model itself is untouched

Each call carries meta["origin"] (the user's module, spelling and line) and, from one run of the example inputs,
meta["shape"] and meta["dtype"] (see shapes.py).
"""

from __future__ import annotations

import copy
import difflib
import inspect
import operator
import sys
from collections.abc import Callable, Collection, Iterator
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node, Proxy
from torch.fx import Tracer as FxTracer

from fxquant.errors import ConfigError, TraceError
from fxquant.graph.inputs import bind_inputs, is_constant
from fxquant.graph.origin import Origin
from fxquant.graph.shapes import propagate_shapes as propagate_shapes
from fxquant.graph.source import running_line
from fxquant.graph.trace_error import (
    CONTROL_FLOW,
    ITEM_ASSIGNMENT,
    ITERATION,
    KEYWORDS,
    LENGTH,
    Untraceable,
    trace_error,
)
from fxquant.graph.transformer import TRANSFORMERS, plain_transformers

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NOT_COMPUTING = {"__init__", "__repr__", "extra_repr", "reset_parameters", "_get_name"}


def trace(
    model: nn.Module,
    example_inputs: Any,
    *,
    leaf_names: Collection[str] = (),
    leaf_classes: Collection[type] = (),
) -> GraphModule:
    """Captures `model`, in eval mode, as a graph that computes the same on a copy of its parameters.

    Modules of torch.nn, those called `leaf_names` and instances of `leaf_classes` stay calls of modules. Tensors among
    `example_inputs` become the graph's inputs; options (bool, int, str, None) and unused defaults are fixed.

    Raises ConfigError (not a module, training mode, unknown leaf), InputError (inputs that do not fit) and TraceError
    (code that cannot be captured).
    """
    _check_model(model)
    _check_leaves(model, leaf_names, leaf_classes)
    arguments = None if example_inputs is None else bind_inputs(model, example_inputs)
    root = _copy(model)
    tracer = Tracer(arguments, leaf_names, leaf_classes)
    gm = GraphModule(root, tracer.capture(root), type(model).__name__)
    gm.eval()
    _keep_out_of_state_dict(gm, root)
    return gm if arguments is None else propagate_shapes(gm, tracer.inputs)


def nn_class(module: nn.Module) -> type[nn.Module] | None:
    """The torch.nn class that says what `module` computes: its own, or the one that it extends without overriding.

    None for containers and for modules with code of their own.
    """
    lineage = type(module).__mro__
    base = next(kind for kind in lineage if kind.__module__.startswith("torch.nn."))
    if base in _CONTAINERS or "forward" in vars(module):
        return None
    for kind in lineage[: lineage.index(base)]:
        code = {name for name, value in vars(kind).items() if isinstance(value, (FunctionType, property))}
        if any(hasattr(base, name) for name in code - _NOT_COMPUTING):
            return None
    return base


class Tracer(FxTracer):
    """torch.fx's tracer, with origins, fixed options, in-place operators and errors that can be acted upon."""

    def __init__(
        self,
        arguments: inspect.BoundArguments | None = None,
        leaf_names: Collection[str] = (),
        leaf_classes: Collection[type] = (),
    ) -> None:
        super().__init__(param_shapes_constant=True)
        self.arguments = arguments
        self.leaf_names = frozenset(leaf_names)
        self.leaf_classes = tuple(leaf_classes)
        self.inputs: list[Any] = []
        self._failed_in: tuple[str, type] | None = None

    def capture(self, root: nn.Module) -> torch.fx.Graph:
        """The graph of `root`; raises TraceError."""
        try:
            with plain_transformers():
                graph = self.trace(root)
        except Exception as error:
            raise trace_error(*(self._failed_in or ("", type(root))), error) from error
        graph._tracer_cls = None  # a pickled GraphModule is read back by torch.fx's own tracer
        return graph

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        if self.arguments is None:
            return super().create_args_for_root(root_fn, is_module, concrete_args)
        for name, value in list(self.arguments.arguments.items()):
            kind = self.arguments.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                proxies: Any = tuple(self._input(f"{name}_{i}", v) for i, v in enumerate(value))
            elif kind is inspect.Parameter.VAR_KEYWORD:
                proxies = {key: self._input(key, v) for key, v in value.items()}
            else:
                proxies = self._input(name, value)
            self.arguments.arguments[name] = proxies
        keywords = self.arguments.kwargs
        # A lambda: torch.fx would copy the annotation of a def's result into the graph, even one that is only a string.
        return lambda *args: root_fn(*args, **keywords), [self.root, *self.arguments.args]

    def _input(self, name: str, value: Any) -> Any:
        if is_constant(value):
            return value
        self.inputs.append(value)
        return self.create_proxy("placeholder", name, (), {})

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.leaf_names or isinstance(m, self.leaf_classes):
            return True
        if type(m) in TRANSFORMERS:
            return False
        return nn_class(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self._failed_in is None and m in (self.submodule_paths or {}):
                self._failed_in = self.path_of_module(m), type(m)
            raise

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Node:
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if kind in ("call_function", "call_method", "call_module"):
            self._stamp(node)
        return node

    def _stamp(self, node: Node) -> None:
        line = running_line(sys._getframe(2), Tracer.capture.__code__)
        path = self.scope.module_path
        module = self.root.get_submodule(path)
        spelling = type(module) if node.op == "call_module" else node.target
        node.meta["origin"] = Origin(path, type(module), spelling, line.place if line else None)
        if line:
            node.stack_trace = str(line)

    def proxy(self, node: Node) -> Proxy:
        return ValueProxy(node, self)

    def to_bool(self, obj: Proxy) -> bool:
        raise Untraceable(CONTROL_FLOW)

    def iter(self, obj: Proxy) -> Iterator[Any]:
        raise Untraceable(ITERATION)

    def keys(self, obj: Proxy) -> Any:
        raise Untraceable(KEYWORDS)


class ValueProxy(Proxy):
    """A proxy that records x += y as what it is: a write into x, which other names of x see too."""

    is_nested = False  # what torch.nn's transformers ask

    def __len__(self) -> int:
        raise Untraceable(LENGTH)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise Untraceable(ITEM_ASSIGNMENT)


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: ValueProxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"):
    setattr(ValueProxy, f"__{_name}__", _in_place(getattr(operator, _name)))


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(f"the model is a {type(model).__name__}; pass an nn.Module instance")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigError("the model is TorchScript; pass the Python module that it was made from")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ConfigError(f"the model is wrapped in {type(model).__name__}; pass model.module")
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    if training:
        raise ConfigError(f"{training[0]} is in training mode; call model.eval() first")


def _check_leaves(model: nn.Module, leaf_names: Collection[str], leaf_classes: Collection[type]) -> None:
    for kind in leaf_classes:
        if not isinstance(kind, type):
            raise ConfigError(f"{kind!r} is no module class to keep as it is; a module's name goes with the names")
    names = [name for name, _ in model.named_modules() if name]
    for leaf in leaf_names:
        if leaf not in names:
            near = difflib.get_close_matches(leaf, names, 3, 0.5) or names[:8]
            raise ConfigError(f"there is no module called {leaf!r} to keep as it is; names are {', '.join(near)}")


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise TraceError(f"the model cannot be copied, so it cannot be left untouched: {error}") from error


def _keep_out_of_state_dict(gm: GraphModule, root: nn.Module) -> None:
    """GraphModule makes a saved buffer of every tensor that the graph fetches; those that were none stay unsaved."""
    for node in gm.graph.nodes:
        if node.op != "get_attr":
            continue
        path, _, name = str(node.target).rpartition(".")
        owner, copied = root.get_submodule(path), gm.get_submodule(path)
        if name in copied._buffers and (name not in owner._buffers or name in owner._non_persistent_buffers_set):
            copied._non_persistent_buffers_set.add(name)
