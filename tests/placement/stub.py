"""A cost model that is made up, so that the best placement is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant import calibrate, get_default_qconfig_mapping, prepare_fx
from fxquant.graph.annotation import quant_of
from fxquant.graph.watching import is_watcher
from fxquant.ops.op import op_name
from fxquant.placement import Kernel
from fxquant.qconfig_mapping import QConfigMapping

US = 1e-6


@dataclass
class StubCosts:
    """`kernels`, in microseconds, by the names of a unit's ops, such as "conv2d+relu"; all conversions cost alike."""

    kernels: Callable[[str], tuple[float, float] | None]
    quantize_us: float = 3.0
    dequantize_us: float = 3.0

    def kernel(self, gm: GraphModule, unit: Sequence[Node]) -> Kernel | None:
        found = self.kernels("+".join(op_name(gm, node) for node in unit))
        return None if found is None else Kernel(found[0] * US, found[1] * US)

    def quantize(self, shape: Sequence[int]) -> float:
        return self.quantize_us * US

    def dequantize(self, shape: Sequence[int]) -> float:
        return self.dequantize_us * US


def prepared(model: nn.Module, x: Tensor | tuple[Any, ...], mapping: QConfigMapping | None = None) -> GraphModule:
    """`model` prepared and calibrated with `x`, one tensor or a tuple of arguments."""
    example = x if isinstance(x, tuple) else (x,)
    gm: Any = prepare_fx(model.eval(), mapping or get_default_qconfig_mapping(), example)
    return calibrate(gm, [example], progress=False)


def placement_of(gm: GraphModule) -> dict[str, str]:
    """The op nodes of a prepared graph, in running order, and the precision of each."""
    calls = [node for node in gm.graph.nodes if node.op == "call_function" and not is_watcher(node)]
    return {node.name: "int8" if quant_of(node).int8 else "float" for node in calls}


def image(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)
