"""Exported models, and what ONNX Runtime makes of them and of each of their layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.utils import _pytree as pytree

import fxquant
from fxquant.graph.integers import layer_of
from fxquant.onnx_export.builder import IR_VERSION, OPSET, Builder
from fxquant.onnx_export.export import built
from fxquant.runtime.quantized_module import QuantizedModule

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def session(model: Any, optimize: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # float32 beside int8 weights
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    return ort.InferenceSession(str(model) if isinstance(model, Path) else model, options, ["CPUExecutionProvider"])


def run(model: Any, inputs: dict[str, Tensor], optimize: bool = True) -> list[Tensor]:
    feed = {name: value.contiguous().numpy() for name, value in inputs.items()}
    return [torch.from_numpy(y) for y in session(model, optimize).run(None, feed)]


def exported(model: QuantizedModule, folder: Path, x: Tensor, optimize: bool = True) -> list[Tensor]:
    fxquant.export_onnx(model, folder / "model.onnx")
    [name] = [node.name for node in model.graph.nodes if node.op == "placeholder"]
    return run(folder / "model.onnx", {name: x}, optimize)


class Recorder(Interpreter):
    def run_node(self, n: Node) -> Any:
        self.env_of[n] = super().run_node(n)
        return self.env_of[n]


def values_of(b: Builder, x: Tensor) -> dict[Node, Any]:
    """What every node of the model gives for `x`."""
    recorder = Recorder(b.gm)
    recorder.env_of = {}
    with torch.no_grad():
        recorder.run(x)
    return recorder.env_of


def of_one_layer(b: Builder, node: Node, values: dict[Node, Any]) -> bytes:
    """The part of an ONNX model that was made for one node."""
    info = onnx.helper.make_tensor_value_info
    kind = onnx.helper.np_dtype_to_tensor_dtype

    def described(each: Node) -> list[Any]:
        pairs = zip(pytree.tree_leaves(b.names[each]), pytree.tree_leaves(values[each]), strict=True)
        return [info(name, kind(value.numpy().dtype), [None] * value.dim()) for name, value in pairs]

    nodes = [each for each in b.nodes if each.name.startswith(f"{node.name}/")]
    used = {name for each in nodes for name in each.input}
    inputs = [x for x in dict.fromkeys(node.all_input_nodes) if x.op != "get_attr"]
    graph = onnx.helper.make_graph(
        nodes,
        "one",
        [each for x in inputs if b.names[x] in used for each in described(x)],
        described(node),
        [tensor for name, tensor in b.initializers.items() if name in used],
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION).SerializeToString()  # type: ignore[no-any-return]


def assert_layers_within_a_step(model: QuantizedModule, x: Tensor, atol: dict[str, float] | None = None) -> int:
    """Every int8 layer, fed with the model's own integers. Returns how many there were.

    `atol`: how far floats may be apart, by the class of the layer, if not as far as rounding takes them.
    """
    b = built(model)
    values, count = values_of(b, x), 0
    for node in b.gm.graph.nodes:
        layer = layer_of(b.gm, node)
        if layer is None:
            continue
        inputs = {b.names[n]: values[n] for n in node.all_input_nodes if n.op != "get_attr"}
        results, expected = run(of_one_layer(b, node, values), inputs), pytree.tree_leaves(values[node])
        for result, value in zip(results, expected, strict=True):
            assert (result.dtype, result.shape) == (value.dtype, value.shape)
            if value.dtype is torch.uint8:
                assert (result.int() - value.int()).abs().max() <= 1, node.name
            else:
                allowed = (atol or {}).get(type(layer).__name__, 1e-5)
                torch.testing.assert_close(result, value, rtol=1e-5, atol=allowed, msg=str(node))
        count += 1
    return count
