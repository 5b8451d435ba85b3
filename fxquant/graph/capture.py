"""The ladder: from a model to graphs of it, whatever its code does. Each rung takes what the one before could not.

1  symbolic trace     the whole of forward; a submodule whose code cannot be recorded is called as it is
2  torch.export       of that submodule, or of the model
3  Python             its own code runs as it is, and the modules that it calls are captured, from rung 1
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from fxquant.errors import InputError, TraceError
from fxquant.graph import surgery
from fxquant.graph.calls import Call, calls_made_by, copied
from fxquant.graph.expect import CHECKS
from fxquant.graph.exported import ExportedPart, NotExported, Replay, exported, is_exported
from fxquant.graph.extract import inlined
from fxquant.graph.inputs import BoundCall, is_constant
from fxquant.graph.kept import meta_of, note
from fxquant.graph.origin import number_calls, origin_of
from fxquant.graph.parts import Capture, join, replace_module
from fxquant.graph.plain_tracer import nn_class
from fxquant.graph.registry import named
from fxquant.graph.trace_error import Failure, check_names
from fxquant.graph.tracer import Tracer


def capture(
    model: nn.Module,
    arguments: BoundCall,
    names: Collection[str],
    kinds: Collection[type],
    functions: Collection[Callable[..., Any]] = (),
) -> nn.Module:
    """`model` as a graph, or with graphs in place of the modules that it calls. The modules of `model` are changed.

    `names`, `kinds`, `functions`: modules and wrapped functions that stay as they are.

    Raises InputError if the example does not go through.
    """
    ladder = _Ladder(names, kinds, functions)
    captured = ladder.symbolic(model, Call("", arguments.args, arguments.kwargs))
    note(captured, captures=tuple(ladder.captures))
    return captured


_READ = "the code around asks more of it than to be called, such as its weights"


class _Ladder:
    def __init__(
        self, names: Collection[str], kinds: Collection[type], functions: Collection[Callable[..., Any]]
    ) -> None:
        self.names = tuple(names)
        self.kinds = tuple(kinds)
        self.functions = tuple(functions)
        self.captures: list[Capture] = []

    def symbolic(self, module: nn.Module, call: Call) -> nn.Module:
        """`module`, which `call` calls, by the first rung that takes it."""
        return self._recorded(module, call, {})

    def _recorded(self, module: nn.Module, call: Call, as_they_are: dict[str, Exception]) -> nn.Module:
        """By rung 1, without the code of the modules `as_they_are`; or by a lower one."""
        tracer = self._tracer(module, call, as_they_are)
        try:
            graph = tracer.capture(module)
            gm = untangled(part(module, graph, call.path))
        except TraceError as error:
            if error.path and error.path not in as_they_are:
                return self._recorded(module, call, {**as_they_are, error.path: error})
            return self._below(module, call, tracer.why(module, error))
        except InputError as error:
            _check_runs(module, call, error)
            return self._below(module, call, tracer.why(module, error))
        except Exception as error:  # whatever the user's code raises when it meets a traced value
            return self._below(module, call, tracer.why(module, error))
        at = len(self.captures)
        for path, made in tracer.python.items():
            old = gm.get_submodule(path)
            inner = made.call._replace(path=join(call.path, path))
            replace_module(gm, old, self._below(old, inner, made.failure, made.children))
        sizes = dict.fromkeys(tracer.fixed_sizes)
        cost = f"these sizes became fixed: {'; '.join(sizes)}" if sizes else ""
        self.captures.insert(at, Capture(call.path, "symbolic trace", "", cost))
        return _as_one(gm) if tracer.python else gm

    def _tracer(self, module: nn.Module, call: Call, as_they_are: dict[str, Exception]) -> Tracer:
        names = [name[len(call.path) :].removeprefix(".") for name in self.names if _is_within(name, call.path)]
        arguments = bound(module, call)
        forward = Replay(module, None, call.path) if is_exported(module) else None
        return Tracer(arguments, names, self.kinds, call.path, forward, as_they_are, self.functions)

    def _below(self, module: nn.Module, call: Call, why: Failure, children: Sequence[Call] | None = None) -> nn.Module:
        """`module`, whose code could not be recorded."""
        if nn_class(module) is not None:
            self.captures.append(Capture(call.path, "Python", str(why), "it computes in float"))
            return module
        try:
            gm, cost = exported(module, call, lambda forward: self._exporting(module, call, forward))
        except NotExported as refusal:
            return self._python(module, call, f"{why}; torch.export: {refusal}", children)
        self.captures.append(Capture(call.path, "torch.export", str(why), cost))
        return gm

    def _python(self, module: nn.Module, call: Call, reason: str, children: Sequence[Call] | None) -> nn.Module:
        if children is None:
            children = _children(module, call)
        at = len(self.captures)
        replaced = []
        for path, calls in itertools.groupby(sorted(children, key=lambda each: each.path), lambda each: each.path):
            child = module.get_submodule(path)
            if not self._stays(child, join(call.path, path)):
                replaced.append(
                    (child, self._child(child, [each._replace(path=join(call.path, path)) for each in calls]))
                )
        compiled = self._put(module, call, replaced)
        what = f"its own code computes in float; {compiled} of the modules that it calls are compiled"
        self.captures.insert(at, Capture(call.path, "Python", reason, what))
        return module

    def _stays(self, module: nn.Module, path: str) -> bool:
        without_weights = next(module.parameters(), None) is None
        return without_weights or path in self.names or isinstance(module, self.kinds)

    def _child(self, module: nn.Module, calls: Sequence[Call]) -> nn.Module:
        if all(_alike(calls[0], other) for other in calls[1:]):
            return self.symbolic(module, calls[0])
        if nn_class(module) is not None:
            return module
        return self._python(module, calls[0], "it is called with arguments of several forms", None)

    def _put(self, module: nn.Module, call: Call, replaced: Sequence[tuple[nn.Module, nn.Module]]) -> int:
        """Puts captured modules in place where the code around them runs with them. Returns how many did."""
        captured = [(old, new) for old, new in replaced if old is not new]
        if _runs_with(module, call, captured):
            return len(captured)
        count = 0
        for old, new in captured:
            if _runs_with(module, call, [(old, new)]):
                count += 1
            else:
                path = meta_of(new).get("part")
                self.captures = [each for each in self.captures if not _is_within(each.path, path)]
                self.captures.append(Capture(str(path), "Python", _READ, "it computes in float"))
        return count

    def _exporting(self, module: nn.Module, call: Call, forward: Any) -> Tracer:
        return Tracer(bound(module, call), part=call.path, forward=forward)


def bound(module: nn.Module, call: Call) -> BoundCall:
    """The arguments of a call, copies of its tensors."""
    args, kwargs = copied((call.args, call.kwargs))
    return BoundCall(args, kwargs, inspect.signature(module.forward))


def untangled(gm: GraphModule) -> GraphModule:
    """`gm` without writes into memory. Raises TraceError where the graph cannot express one."""
    return named("normalize_inplace").run(gm)


def part(
    root: nn.Module, graph: torch.fx.Graph, path: str, name: str = "", kind: type[GraphModule] = GraphModule
) -> GraphModule:
    """The graph of the module at `path` of the user's model as a `kind`, with the names that `root` gives.

    `name`: that of the user's class, if it is not the root's. Raises TraceError for names that no graph can have.
    """
    check_names(graph)
    name = name or type(root).__name__
    number_calls(graph)
    gm = kind(root, graph, name)
    gm.eval()
    _keep_out_of_state_dict(gm, root)
    gm.meta.update(part=path, name=name)
    return gm


def _as_one(gm: GraphModule) -> GraphModule:
    """`gm` with the nodes of the modules within that torch.export captured, in place of their calls."""
    path = gm.meta["part"]
    made = part(gm, inlined(gm, ExportedPart).graph, path, gm.meta["name"])
    for node in list(made.graph.nodes):
        if node.target in CHECKS and not node.all_input_nodes:  # of options, which the code around has fixed
            made.graph.erase_node(node)
        elif (origin := origin_of(node)) is not None:
            node.meta["origin"] = replace(origin, part=path)
    return surgery.clean(made)


def _keep_out_of_state_dict(gm: GraphModule, root: nn.Module) -> None:
    """GraphModule makes a saved buffer of every tensor that the graph fetches; those that were none stay unsaved."""
    for node in gm.graph.nodes:
        if node.op != "get_attr":
            continue
        path, _, name = str(node.target).rpartition(".")
        owner, copied = root.get_submodule(path), gm.get_submodule(path)
        if name in copied._buffers and (name not in owner._buffers or name in owner._non_persistent_buffers_set):
            copied._non_persistent_buffers_set.add(name)


def _run(module: nn.Module, call: Call) -> Any:
    args, kwargs = copied((call.args, call.kwargs))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return module(*args, **kwargs)


def _runs(module: nn.Module, call: Call) -> bool:
    try:
        _run(module, call)
    except Exception:  # the user's code may raise whatever it likes
        return False
    return True


class _Callable(nn.Module):
    """What the code around a module can count on once it is compiled: a call, and plain attributes; no weights."""

    def __init__(self, old: nn.Module, new: nn.Module) -> None:
        super().__init__()
        vars(self).update({name: value for name, value in vars(old).items() if not name.startswith("_")})
        self._held = (new,)  # not as a submodule, whose weights would be found

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._held[0](*args, **kwargs)


def _runs_with(module: nn.Module, call: Call, replaced: Sequence[tuple[nn.Module, nn.Module]]) -> bool:
    """Puts captured modules in place of others, and leaves them there if the code around runs with them."""
    callables = [_Callable(old, new) for old, new in replaced]
    for (old, _), held in zip(replaced, callables, strict=True):
        replace_module(module, old, held)
    runs = _runs(module, call)
    for (old, new), held in zip(replaced, callables, strict=True):
        replace_module(module, held, old)
        if runs:
            replace_module(module, old, new)
    return runs


def _check_runs(module: nn.Module, call: Call, error: InputError) -> None:
    """Raises `error`, which recording the module met, if the module itself fails on the example too."""
    if not _runs(module, call):
        raise InputError(f"{error}\n  the model itself fails on them as well") from error


def _children(module: nn.Module, call: Call) -> list[Call]:
    with calls_made_by(module) as calls:
        try:
            _run(module, call)
        except Exception as error:
            raise InputError(
                f"example_inputs do not go through the model: {type(module).__name__} {call.path}: {error}"
            ) from error
    return calls


def _alike(a: Call, b: Call) -> bool:
    """Whether two calls have arguments of one form: the same options, and tensors of the same rank and dtype."""
    (values, form), (others, other_form) = (
        pytree.tree_flatten((a.args, a.kwargs)),
        pytree.tree_flatten((b.args, b.kwargs)),
    )
    return form == other_form and all(map(_same_form, values, others))


def _same_form(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a.dim(), a.dtype) == (b.dim(), b.dtype)
    return type(a) is type(b) and is_constant(a) and bool(a == b)


def _is_within(path: str, root: str | None) -> bool:
    return root is not None and (root == "" or path == root or path.startswith(f"{root}."))
