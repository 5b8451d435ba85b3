"""Shapes and dtypes of every value, as the example inputs show them.

node.meta["shape"]   torch.Size of a tensor; a tuple of them for several tensors; None for any other value
node.meta["dtype"]   torch.dtype of a tensor; a tuple of them for several tensors; None for any other value
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node, Proxy
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from fxquant.errors import InputError
from fxquant.graph.called import called, is_called
from fxquant.graph.inputs import is_constant
from fxquant.graph.origin import where
from fxquant.graph.watching import value_of
from fxquant.ops.op import op_of

LARGEST = 1e6  # what activations stay below
AS_GOOD_AS_INFINITE = 1e4  # as a mask or a border: beside any score, exp of a value that much lower is 0

_SHAPE = ("size", "shape", "dim", "ndim", "numel", "__len__")


def propagate_shapes(gm: GraphModule, example_inputs: Any) -> GraphModule:
    """Runs `gm` once without gradients, on copies of the inputs, and writes what it sees into node.meta.

    Raises InputError naming the node and the user's line if the inputs do not go through.
    """
    values = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), _values(gm, example_inputs))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        _ShapeRecorder(gm).run(*values)
    return gm


def _values(gm: GraphModule, example_inputs: Any) -> list[Any]:
    """The inputs in the order of the placeholders; options that tracing fixed have none."""
    names = [str(node.target) for node in gm.graph.nodes if node.op == "placeholder"]
    if isinstance(example_inputs, Tensor):
        return [example_inputs]
    if isinstance(example_inputs, dict):
        return [example_inputs[name] for name in names]
    values = list(example_inputs)
    return values if len(values) == len(names) else [v for v in values if not is_constant(v)]


def infer_shapes(gm: GraphModule) -> GraphModule:
    """Fills in what the ops' own bodies say about nodes of which nothing is known yet, from known inputs."""
    for node in gm.graph.nodes:
        row = op_of(node)
        if row is not None and "shape" not in node.meta:
            with contextlib.suppress(Unknown), torch.no_grad():
                node.meta["shape"], node.meta["dtype"] = inferred(node)
    return gm


def inferred(node: Node) -> tuple[Any, Any]:
    """What the body of the op that `node` calls gives for inputs as node.meta describes. Raises Unknown without these.

    Computes nothing; an op whose body asks for numbers raises what torch does.
    """
    row = op_of(node)
    if row is None:
        raise Unknown(node.name)
    return describe(row.body(*map_arg(node.args, _stand_in), **map_arg(node.kwargs, _stand_in)))


class Unknown(Exception):
    """The example's shapes do not decide a value."""


def asks_shape(node: Node) -> bool:
    """Whether `node` reads only the shape of its input, not the numbers in it."""
    if node.op == "call_method":
        return node.target in _SHAPE
    return node.target is getattr and node.args[1] in _SHAPE


def joint_shape(*shapes: Any) -> Any:
    """The shape of what tensors of these shapes are broadcast to. A tracer records it as one call."""
    proxy = next((shape for shape in shapes if isinstance(shape, Proxy)), None)
    if proxy is not None:
        return proxy.tracer.create_proxy("call_function", joint_shape, shapes, {})
    return torch.broadcast_shapes(*shapes)


def shape_of_rows(shape: Any, length: int) -> Any:
    """The shape of rows of `length` that indices of `shape` ask for. A tracer records it as one call."""
    if isinstance(shape, Proxy):
        return shape.tracer.create_proxy("call_function", shape_of_rows, (shape, length), {})
    return torch.Size((*shape, length))


def number_of(node: Node) -> Any:
    """The value that `node` computes from shapes, as those of the example were. Raises Unknown if it takes more."""
    node = value_of(node)
    if node.meta.get("shape") is not None:
        return _stand_in(node)
    if not is_called(node):
        raise Unknown(node.name)
    args, kwargs = map_arg(node.args, number_of), map_arg(node.kwargs, number_of)
    try:
        return called(node, args, kwargs)
    except Exception as error:  # whatever users call on numbers may raise whatever it likes
        raise Unknown(node.name) from error


def _stand_in(node: Node) -> Any:
    shape, dtype = node.meta.get("shape"), node.meta.get("dtype")
    if shape is None:
        raise Unknown
    if isinstance(shape, torch.Size):
        return torch.empty(shape, dtype=dtype, device="meta")
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * len(shape)
    return tuple(torch.empty(size, dtype=each, device="meta") for size, each in zip(shape, dtypes, strict=True))


class _ShapeRecorder(Interpreter):
    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.extra_traceback = False

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return value.clone() if isinstance(value, Tensor) else value  # the graph may write into it

    def run_node(self, n: Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            raise InputError(complaint(n, error)) from error
        n.meta["shape"], n.meta["dtype"] = describe(value)
        return value


def complaint(node: Node, error: Exception) -> str:
    """What to tell the user when `node` failed on the example inputs."""
    inputs: list[str] = []
    map_arg(node.all_input_nodes, lambda n: inputs.append(f"{n.name} {tuple(n.meta.get('shape') or ())}"))
    line = f"\n{node.stack_trace}" if node.stack_trace else ""
    fed = f"\n  its inputs: {', '.join(inputs)}" if inputs else ""
    return f"example_inputs do not go through the model: {where(node)} failed: {error}{fed}{line}"


def has_extremes(x: Tensor) -> bool:
    """Whether a float tensor holds values that no activation has, such as the -inf of a mask."""
    return x.is_floating_point() and x.numel() > 0 and bool((x.abs() > LARGEST).any())


def describe(value: Any) -> tuple[Any, Any]:
    """The shape and the dtype of a value, as node.meta holds them."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, Tensor) for v in value):
        return tuple(v.shape for v in value), tuple(v.dtype for v in value)
    return None, None
