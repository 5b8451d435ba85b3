"""torch.export's graph of a module, recorded once more in the spellings that users write: one op table serves both.

Parameters keep their names, and nodes know the module of the user's that they come from. The graph is made here, or is
what the user gives.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.export import Dim
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental import _config as config
from torch.utils import _pytree as pytree

from fxquant.errors import TraceError
from fxquant.graph.aten import as_written
from fxquant.graph.calls import Call
from fxquant.graph.expect import expect
from fxquant.graph.origin import Origin, type_of
from fxquant.graph.source import Line
from fxquant.graph.value_proxy import ValueProxy


class NotExported(Exception):
    """torch.export, or the way back from its graph, failed; the message says at what."""


def export(module: nn.Module, call: Call) -> GraphModule:
    """The graph of `module` as `call` calls it, with every dimension dynamic that can be. Raises NotExported."""
    shapes = pytree.tree_map(_dynamic, (call.args, call.kwargs))
    by_name = _by_parameter(module, *shapes)
    try:
        # So that an example of one image does not mean that there will never be more.
        with torch.no_grad(), config.patch(backed_size_oblivious=True), _quiet():  # type: ignore[attr-defined]
            program = torch.export.export(module, call.args, call.kwargs, dynamic_shapes=by_name, strict=False)
            return program.module(check_guards=False)
    except SyntaxError as error:
        raise NotExported("it cannot write its names as code, either") from error
    except Exception as error:
        raise NotExported(str(error).strip().partition("\n")[0]) from error


class ExportedPart(GraphModule):
    """A module's graph that torch.export made."""


class Replay(Interpreter):
    """Runs an exported graph on traced values, so that a Tracer records it.

    `module`: what was exported; without it the graph is the user's, whose sizes are what the user made them.
    """

    def __init__(self, program: GraphModule, module: nn.Module | None, part: str) -> None:
        super().__init__(program)
        self.user_module = module
        self.part = part
        self.out_spec: Any = program.graph._codegen.pytree_info.out_spec  # type: ignore[attr-defined]
        self.extra_traceback = False
        self.cost: list[str] = []

    def __call__(self, root: nn.Module, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(self.module.forward).bind(*args, **kwargs).arguments
        leaves = pytree.tree_leaves(pytree.tree_map(_expanded, list(given.values())))
        self.tracer: Any = next(leaf.tracer for leaf in leaves if type(leaf) is ValueProxy)
        result = self.run(*leaves, enable_io_processing=False)
        return pytree.tree_unflatten(list(result), self.out_spec)

    def run_node(self, n: Node) -> Any:
        self.tracer.origin = self._origin(n)
        try:
            return super().run_node(n)
        finally:
            self.tracer.origin = None

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().placeholder(target, args, kwargs)
        if type(value) is ValueProxy and self.user_module is not None:
            self._fix_dimensions(str(target), value)
        return value

    def _fix_dimensions(self, name: str, value: Any) -> None:
        node = next(n for n in self.graph.nodes if n.op == "placeholder" and n.target == name)
        shape = getattr(node.meta.get("val"), "shape", ())
        for dimension, size in enumerate(map(_constant, shape)):
            what = f"dimension {dimension} of {name}"
            if size is not None and dimension == 0:
                raise NotExported(f"it would fix the batch size: {what} became {size}")
            if size is not None:
                self.cost.append(f"{what} is {size}")
                now = self.tracer.create_proxy("call_method", "size", (value, dimension), {})
                self.tracer.create_proxy("call_function", expect, (now, size, what), {})

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(target, HigherOrderOperator):
            raise NotExported(f"the graph calls {target}")
        if isinstance(target, OpOverload):
            return self.tracer.create_proxy("call_function", target, args, kwargs)
        return super().call_function(target, args, kwargs)

    def _origin(self, node: Node) -> Origin | None:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if not node.op.startswith("call_"):
            return None
        path = str(stack[-1][0]).removeprefix("L['self']").removeprefix(".") if stack else ""
        path = path.partition("@")[0]
        kind = _kind(self.user_module, path, str(stack[-1][1]) if stack else "")
        spelling: Any = node.target
        if isinstance(spelling, OpOverload):
            spelling = as_written(spelling, node.args, node.kwargs)
            spelling = node.target if spelling is None else spelling[1]
        if kind is not None and kind.__module__.startswith("torch.nn.") and kind is not nn.Sequential:
            spelling = kind
        line = _line(node)
        place, code = (line.place, line.text) if line else (None, "")
        return Origin(".".join(filter(None, (self.part, path))), kind, spelling, place, self.part, code=code)


def is_exported(module: nn.Module) -> TypeGuard[GraphModule]:
    """Whether `module` is a graph of torch.export's, such as that of the user's ExportedProgram."""
    return (
        isinstance(module, GraphModule)
        and hasattr(module.graph._codegen, "pytree_info")
        and any(isinstance(node.target, OpOverload) and "nn_module_stack" in node.meta for node in module.graph.nodes)
    )


def exported(module: nn.Module, call: Call, tracer_for: Callable[[Callable[..., Any]], Any]) -> tuple[GraphModule, str]:
    """The graph of `module` by way of torch.export, and what that fixed. Raises NotExported."""
    from fxquant.graph.capture import part, untangled

    root: Any = export(module, call)
    replay = Replay(root, module, call.path)
    tracer = tracer_for(replay)
    try:
        graph = tracer.capture(root)
    except NotExported:
        raise
    except Exception as error:
        raise NotExported(f"its graph cannot be read: {type(error).__name__}: {error}") from error
    try:
        gm = untangled(part(root, graph, call.path, type(module).__name__, ExportedPart))
    except TraceError as error:
        raise NotExported(str(error)) from error
    return gm, f"these sizes became fixed: {', '.join(replay.cost)}" if replay.cost else ""


def _constant(size: Any) -> int | None:
    """The size of a dimension that torch.export fixed."""
    return size if isinstance(size, int) else size.node.maybe_as_int()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch.export logs and prints the whole of a graph that it gives up; the reason comes with the exception."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _dynamic(value: Any) -> Any:
    return dict.fromkeys(range(value.dim()), Dim.AUTO) if isinstance(value, Tensor) else None


def _by_parameter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dynamic shapes as torch.export takes them: by parameter name."""
    arguments = inspect.signature(module.forward).bind(*args, **kwargs)
    result = dict(arguments.arguments)
    for name, parameter in arguments.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and name in result:
            result.update(result.pop(name))
    return result


def _expanded(value: Any) -> Any:
    """A traced value that holds several, as the container of them."""
    if type(value) is not ValueProxy or isinstance(value._example, Tensor):
        return value
    example = value._example
    if isinstance(example, dict):
        return {key: _expanded(value[key]) for key in example}
    if isinstance(example, (tuple, list)):
        return type(example)(_expanded(value[i]) for i in range(len(example)))
    return value


def _kind(module: nn.Module | None, path: str, name: str) -> type | None:
    """The class of the module at `path`; without one to look into, the class of that full name, if it is imported."""
    if module is None:
        place, _, name = name.rpartition(".")
        found = getattr(sys.modules.get(place), name, None)
        return found if isinstance(found, type) else None
    try:
        return type_of(module.get_submodule(path))
    except AttributeError:
        return None


def _line(node: Node) -> Line | None:
    lines = [line for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File ")]
    if not lines:
        return None
    file, _, rest = lines[-1].strip().removeprefix('File "').partition('", line ')
    number, _, function = rest.partition(", in ")
    return Line(file, int(number), function)
