"""From an nn.Module to a graph that knows where every node comes from.

    trace(model, example_inputs)   a GraphModule over a copy of the model's parameters; the model itself is untouched

Where the model's own code cannot be captured, the result is a copy of the model with graphs in place of the modules
that it calls (see capture.py for the ladder, parts.py for what the stages make of it).
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from fxquant.errors import ConfigError
from fxquant.graph.capture import capture, part
from fxquant.graph.inputs import bind_inputs
from fxquant.graph.kept import meta_of
from fxquant.graph.plain_tracer import PlainTracer
from fxquant.graph.settled_weights import settled_copy
from fxquant.graph.shapes import propagate_shapes as propagate_shapes


def trace(
    model: nn.Module | ExportedProgram,
    example_inputs: Any,
    *,
    leaf_names: Collection[str] = (),
    leaf_classes: Collection[type] = (),
    leaf_functions: Collection[Callable[..., Any]] = (),
) -> Any:
    """Captures `model`, in eval mode, as a graph that computes the same on a copy of its parameters.

    Modules of torch.nn, those called `leaf_names` and instances of `leaf_classes` stay calls of modules, and of the
    functions that torch.fx.wrap names `leaf_functions` and those whose code cannot be recorded. Tensors among
    `example_inputs` become the graph's inputs; options (bool, int, str, None) are fixed, and checked at every call.
    Without an example, which is None, the graph knows no shapes, and code that needs them is not captured.
    A DataParallel, DistributedDataParallel or torch.compile'd model stands for the model within.

    Returns a GraphModule; or, where the model's own code cannot be captured, a copy of the model in which the modules
    that it calls are GraphModules. Raises ConfigError (not a module, training mode, unknown leaf), InputError (inputs
    that do not fit) and TraceError (a model that cannot be copied).
    """
    inner = unwrapped(model)
    _check_model(inner)
    _check_leaves(inner, leaf_names, leaf_classes)
    root = settled_copy(inner)
    for module in root.modules():
        for note in ("part", "standalone"):
            meta_of(module).pop(note, None)  # what was finished before is the user's module by now
    if example_inputs is None:
        return part(root, PlainTracer(leaf_names, leaf_classes).capture(root), "")
    with _state_of(root):
        return capture(root, bind_inputs(root, example_inputs), leaf_names, leaf_classes, leaf_functions)


@contextlib.contextmanager
def _state_of(root: nn.Module) -> Iterator[None]:
    """What the code within runs for trial leaves buffers that the model writes into, such as caches, as they were."""
    buffers = [
        (module._buffers, name, buffer, buffer.clone(), None if buffer.is_inference() else buffer._version)
        for module in root.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    yield
    with torch.no_grad():
        for owner, name, buffer, value, version in buffers:
            owner[name] = buffer
            if version is None or buffer._version != version:
                buffer.copy_(value)


def unwrapped(model: Any) -> Any:
    """The model within DataParallel, DistributedDataParallel or torch.compile; of an ExportedProgram, its module."""
    while True:
        if isinstance(model, ExportedProgram):
            return in_eval_mode(_module_of(model))  # the mode was fixed by the export
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(model, nn.Module) and "_orig_mod" in model._modules:
            model = model._modules["_orig_mod"]
        else:
            return model


def _module_of(program: ExportedProgram) -> nn.Module:
    try:
        return program.module()
    except SyntaxError as error:
        raise ConfigError(
            f"the ExportedProgram cannot be run: {error}. A name in it is no code, such as a keyword of Python, or one "
            "with a quote or a line break: rename that module or parameter, and export again"
        ) from error


def in_eval_mode(model: nn.Module) -> nn.Module:
    """`model`, set to eval mode, also where its own eval() refuses, as that of an exported program does."""
    for module in model.modules():
        module.training = False
    return model


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(f"the model is a {type(model).__name__}; pass an nn.Module instance")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigError("the model is TorchScript; pass the Python module that it was made from")
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
