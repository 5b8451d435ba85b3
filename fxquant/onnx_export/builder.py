"""A growing ONNX graph, and what its values stand for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.errors import MissingError, UnsupportedError
from fxquant.qparams import Requantize

OPSET, IR_VERSION = 20, 10


def onnx_package() -> Any:
    """The package onnx. Raises MissingError with the command that installs it."""
    try:
        importlib.import_module("onnx.checker")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise MissingError("export_onnx needs the package onnx; run: pip install onnx") from error


class Builder:
    """Appends ONNX nodes. `examples`: of every node of the graph, the value that the example inputs gave.

    `others`: the value of inputs of another batch, {} where the model takes no other.
    """

    def __init__(self, gm: GraphModule, examples: dict[Node, Any], others: dict[Node, Any]) -> None:
        self.gm = gm
        self.examples, self.others = examples, others
        self.onnx = onnx_package()
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[Node, Any] = {}  # a name, or a list of them where the value is several tensors
        self.scales: dict[Node, float] = {}  # of integers: what one step stands for
        self.current: Node | None = None

    # Values of the graph.

    def name(self, node: Node) -> str:
        """The ONNX value that `node` is."""
        name = self.names[node]
        if not isinstance(name, str):
            raise UnsupportedError("several tensors are read as one")
        return name

    def operand(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """A value of the graph, or a number, in `dtype`, if not in that of the result of the current node."""
        dtype = dtype or self.examples[self.node].dtype
        if not isinstance(value, Node) or not isinstance(self.examples[value], Tensor):
            return self.constant(torch.tensor(self.known(value), dtype=dtype))
        return self.cast(self.name(value), self.examples[value].dtype, dtype)

    def cast(self, x: str, before: torch.dtype, after: torch.dtype) -> str:
        """`x` of another dtype."""
        return x if before is after else str(self.add("Cast", x, to=self.type_of(after)))

    def type_of(self, dtype: torch.dtype) -> int:
        """ONNX's number for `dtype`. Raises UnsupportedError for those that numpy has not."""
        try:
            return int(self.onnx.helper.np_dtype_to_tensor_dtype(torch.empty(0, dtype=dtype).numpy().dtype))
        except TypeError:
            raise UnsupportedError(f"{dtype} has no ONNX form here") from None

    def known(self, value: Any) -> Any:
        """`value` with what the example gave in place of nodes, for sizes that become constants.

        Raises UnsupportedError for one that is another for another batch.
        """
        return torch.fx.node.map_arg(value, self._known)

    def _known(self, node: Node) -> Any:
        value, other = self.examples[node], self.others.get(node)
        if other is not None and not isinstance(value, Tensor) and value != other:
            raise UnsupportedError("a number that follows the size of the batch is computed with")
        return value

    def shape(self, node: Node) -> tuple[int, ...]:
        """The shape that the example gave."""
        return tuple(self.examples[node].shape)

    @property
    def node(self) -> Node:
        """The node whose form is being written."""
        assert self.current is not None
        return self.current

    def scales_of(self, node: Node) -> list[float]:
        """Of the integers that `node` reads."""
        return [self.scales[x] for x in node.all_input_nodes if x in self.scales]

    # Building.

    def add(self, op: str, *inputs: str, outputs: Any = 1, **attributes: Any) -> Any:
        """Appends a node; returns the name of its output, or a list if it has several."""
        base = f"{self.node.name}/{op}_{len(self.nodes)}"
        names = [base] if outputs == 1 else [f"{base}.{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), names, base, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any) -> str:
        """The name of an initializer that holds a tensor, an array or a numpy scalar."""
        array = value.detach().contiguous().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"constant_{len(self.initializers)}"
        self.initializers[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """The name of a vector of int64: shapes, axes and the like."""
        return self.constant(np.array(values, dtype=np.int64))

    # Between real numbers and integers.

    def dequantize(self, x: str, scale: float, zero_point: int) -> str:
        """uint8 to real."""
        return str(self.add("DequantizeLinear", x, *self._qparams(scale, zero_point)))

    def dequantize_weight(self, weight: Tensor, scale: Tensor, axis: int) -> str:
        """int8 (zero point 0) or int32 to real, with a scale for each index along `axis`."""
        inputs = [weight, scale.float()]
        if weight.dtype is torch.int8:
            inputs.append(torch.zeros(len(scale), dtype=torch.int8))
        return str(self.add("DequantizeLinear", *map(self.constant, inputs), axis=axis))

    def quantize(self, real: str, scale: float, output: Requantize) -> str:
        """Real to uint8 within the bounds of `output`."""
        low, high = ((bound - output.zero_point) * scale for bound in (output.quant_min, output.quant_max))
        if output.quant_max == 255 and output.quant_min == output.zero_point:
            real = self.add("Relu", real)
        elif (output.quant_min, output.quant_max) != (0, 255):
            real = self.add("Clip", real, self.constant(np.float32(low)), self.constant(np.float32(high)))
        return str(self.add("QuantizeLinear", real, *self._qparams(scale, output.zero_point)))

    def _qparams(self, scale: float, zero_point: int) -> tuple[str, str]:
        return self.constant(np.float32(scale)), self.constant(np.uint8(zero_point))


Export = Callable[..., Any]


def registering(table: dict[Callable[..., Any], Export]) -> Callable[..., Callable[[Export], Export]]:
    """A decorator for the form of ops, `@exports(op, …)`, that puts it into `table`."""

    def exports(*calls: Callable[..., Any]) -> Callable[[Export], Export]:
        def declare(export: Export) -> Export:
            table.update(dict.fromkeys(calls, export))
            return export

        return declare

    return exports
