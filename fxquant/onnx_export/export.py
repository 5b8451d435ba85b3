"""From a finished model to a file of ONNX."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils import _pytree as pytree

import fxquant.onnx_export.choices
import fxquant.onnx_export.dynamic
import fxquant.onnx_export.norms
import fxquant.onnx_export.recurrent
import fxquant.onnx_export.transformers  # noqa: F401  all of them add to the tables of ONNX forms
from fxquant.arguments import typed
from fxquant.errors import InputError, UnsupportedError
from fxquant.graph import surgery
from fxquant.graph.assemble import Assemble
from fxquant.graph.extract import inlined
from fxquant.graph.integers import layer_of
from fxquant.graph.interface import inputs_of
from fxquant.graph.origin import where
from fxquant.onnx_export.builder import IR_VERSION, OPSET, Builder
from fxquant.onnx_export.floats import FLOAT_EXPORTS
from fxquant.onnx_export.layers import export_layer
from fxquant.onnx_export.moves import MOVE_EXPORTS
from fxquant.onnx_export.plain import plain
from fxquant.onnx_export.sizes import of_sizes, written_of_sizes
from fxquant.ops.op import op_name, op_of
from fxquant.paths import reaching
from fxquant.runtime.quantized_module import QuantizedModule, as_one_graph
from fxquant.runtime.region import Int8Region

BATCH = "batch"


@typed
def export_onnx(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes what `convert_fx` returned as QDQ ONNX (opset 20) that takes any batch of inputs of the example's sizes.

    The inputs have the names of the model's arguments; the outputs are called output_0, output_1 … in the order of what
    the model returns. Every integer is at most one step away from the model's own: the runtime computes on real
    numbers, or on integers with a rounding of its own. Dynamic layers find their scales in ONNX, too; only the hidden
    states of recurrent ones are not rounded there.

    Raises ConfigError for any other model, PathError if the file cannot be written, MissingError without the package
    onnx, and UnsupportedError, naming the place, for what has no form in ONNX: modules and functions outside the op
    table that stayed float, code that runs as Python.
    """
    model = as_one_graph(model, "export_onnx")
    b = built(model)
    onnx = b.onnx
    outputs = _outputs(b)
    read = {name for node in b.nodes for name in node.input}
    constants = [tensor for name, tensor in b.initializers.items() if name in read]
    graph = onnx.helper.make_graph(b.nodes, type(model).__name__, _inputs(b), outputs, constants)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fxquant")
    onnx.checker.check_model(proto)
    with reaching(path, "write") as file:
        onnx.save(proto, str(file))


def built(model: QuantizedModule) -> Builder:
    """The ONNX graph of `model`."""
    gm = inlined(model, Int8Region)
    b = Builder(gm, _examples(gm, model.meta["inputs"]), _of_another_batch(gm, model.meta["inputs"]))
    sizes = of_sizes(gm)
    for node in gm.graph.nodes:
        b.current = node
        try:
            _export(b, node, node in sizes)
        except UnsupportedError as error:
            raise UnsupportedError(f"{where(node)} cannot be exported: {error}") from None
    return b


def _export(b: Builder, node: Node, is_of_sizes: bool) -> None:
    if node.op == "placeholder":
        b.names[node] = node.name
    elif node.op == "get_attr":
        b.names[node] = b.constant(surgery.fetch(b.gm, node))
    elif node.op == "output" or _puts_together(b.gm, node) or not _is_tensors(b.examples[node]):
        return
    elif is_of_sizes and isinstance(b.examples[node], Tensor) and not b.scales_of(node):
        b.names[node] = written_of_sizes(b, node)
    else:
        b.names[node] = _computed(b, node)


def _puts_together(gm: GraphModule, node: Node) -> bool:
    """Whether `node` only makes an object that holds results."""
    if node.op == "call_module":
        return isinstance(gm.get_submodule(str(node.target)), Assemble)
    return isinstance(node.target, type) and dataclasses.is_dataclass(node.target)


def _computed(b: Builder, node: Node) -> Any:
    layer, row = layer_of(b.gm, node), op_of(node)
    if layer is not None:
        return export_layer(b, node, layer)
    export = plain(node) if row is None else MOVE_EXPORTS.get(row.call) or FLOAT_EXPORTS.get(row.call)
    if export is None:
        raise UnsupportedError(f"there is no ONNX form of {op_name(b.gm, node)}")
    if row is not None and row.moves and b.scales_of(node):
        b.scales[node] = b.scales_of(node)[0]
    return export(b, *(node.args if row is None else row.bind(node).values()))


def _examples(gm: GraphModule, inputs: Any) -> dict[Node, Any]:
    """What each node gives for an example of zeros, and options as they were fixed."""
    values = []
    for (shape, dtype), node in zip(inputs, inputs_of(gm), strict=True):
        if shape is None and not node.args:
            raise UnsupportedError(f"the input {node.target} is no tensor, and ONNX models take tensors")
        values.append(node.args[0] if shape is None else torch.zeros(shape, dtype=dtype))
    recorder = _Recorder(gm)
    with torch.no_grad():
        recorder.run(*values)
    return recorder.values


def _of_another_batch(gm: GraphModule, inputs: Any) -> dict[Node, Any]:
    """The same of one example more; {} if the model does not take it."""
    larger = [(shape and torch.Size([shape[0] + 1, *shape[1:]]), dtype) for shape, dtype in inputs]
    try:
        return _examples(gm, larger)
    except (InputError, RuntimeError):
        return {}


class _Recorder(Interpreter):
    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.values: dict[Node, Any] = {}

    def run_node(self, n: Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


def _is_tensors(value: Any) -> bool:
    leaves = pytree.tree_leaves(value)
    return bool(leaves) and all(isinstance(leaf, Tensor) for leaf in leaves)


def _inputs(b: Builder) -> list[Any]:
    return [_info(b, n.name, b.examples[n]) for n in inputs_of(b.gm) if isinstance(b.examples[n], Tensor)]


def _outputs(b: Builder) -> list[Any]:
    """Names every result; a result that is an input, or that occurs twice, is copied."""
    [output] = [node for node in b.gm.graph.nodes if node.op == "output"]
    b.current = output
    found = []
    for i, node in enumerate(_results(b, output.args[0])):
        if not (isinstance(node, Node) and isinstance(b.examples[node], Tensor)):
            raise UnsupportedError(f"the model returns {node!r}, and ONNX models return tensors")
        b.nodes.append(b.onnx.helper.make_node("Identity", [b.name(node)], [f"output_{i}"]))
        found.append(_info(b, f"output_{i}", b.examples[node], batch=False))
    return found


def _results(b: Builder, value: Any) -> Iterator[Any]:
    """What a returned value holds, in order, without None; and without the numbers that a cache holds."""
    for leaf in pytree.tree_leaves(value):
        if not (isinstance(leaf, Node) and _puts_together(b.gm, leaf)):
            yield from () if leaf is None else (leaf,)
            continue
        within = _results(b, (leaf.args, dict(leaf.kwargs)))
        yield from (each for each in within if isinstance(each, Node) and isinstance(b.examples[each], Tensor))


def _info(b: Builder, name: str, example: Tensor, batch: bool = True) -> Any:
    """Type and shape: the first dimension of inputs is free, and so is every one of results."""
    dtype = b.onnx.helper.np_dtype_to_tensor_dtype(example.detach().numpy().dtype)
    shape = [BATCH, *example.shape[1:]] if batch and example.dim() else [None] * example.dim()
    return b.onnx.helper.make_tensor_value_info(name, dtype, shape)
