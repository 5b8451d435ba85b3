"""Small models and graphs, and what the tests of the passes ask of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node, Proxy
from torch.fx.proxy import GraphAppendingTracer

from fxquant import QConfigMapping, get_default_qconfig_mapping
from fxquant.graph.pipeline import passes_of, run_stage
from fxquant.graph.trace import trace
from fxquant.ops.op import op_of
from fxquant.qparams import QParams

X = QParams(0.05, 120)
Y = QParams(0.03, 90)
Z = QParams(0.08, 140)


class Written(nn.Module):
    """forward is `code(self, *inputs)`; `modules` are its submodules."""

    def __init__(self, code: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, module in modules.items():
            self.add_module(name, module)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.code(self, x)


def graph_of(build: Callable[..., Any], inputs: int = 1, **tensors: Tensor) -> GraphModule:
    """The graph that `build` records from `inputs` placeholders and, as keyword arguments, from these buffers."""
    graph, root = Graph(), nn.Module()
    tracer = GraphAppendingTracer(graph)
    arguments = [Proxy(graph.placeholder(f"x{i}"), tracer) for i in range(inputs)]
    for name, tensor in tensors.items():
        root.register_buffer(name, tensor)
    buffers = {name: Proxy(graph.get_attr(name), tracer) for name in tensors}
    graph.output(tracer.create_arg(build(*arguments, **buffers)))
    return GraphModule(root, graph)


def uint8(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def int8(*shape: int) -> Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def weight_qparams(scale: Any) -> QParams:
    """Of a symmetric weight; a `scale` for each output channel, or one."""
    return QParams(scale, 0, -128, 127, torch.int8, None if isinstance(scale, float) else 0)


def calls(gm: GraphModule) -> list[Any]:
    return [node.target for node in gm.graph.nodes if node.op.startswith("call_")]


def node_of(gm: GraphModule, target: Any) -> Node:
    """The one node that calls `target`."""
    (node,) = (node for node in gm.graph.nodes if node.target is target or node.target == target)
    return node


def arguments_of(gm: GraphModule, op: Any) -> dict[str, Any]:
    """The arguments, by name, of the one call of `op`."""
    node = node_of(gm, op)
    row = op_of(node)
    assert row is not None
    return row.bind(node)


def run_pass(
    run: Callable[[GraphModule], GraphModule],
    gm: GraphModule,
    *inputs: Tensor,
    gives: list[Any],
    steps: int = 0,
) -> GraphModule:
    """`gm` after a pass: it calls just `gives`, and no integer is more than `steps` away from what `gm` computed."""
    expected = gm(*inputs)
    after = run(gm)
    assert calls(after) == gives
    result = after(*inputs)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    torch.testing.assert_close(result.double(), expected.double(), atol=steps, rtol=0)
    return after


def annotated(model: nn.Module, x: Tensor, until: str, mapping: QConfigMapping | None = None) -> GraphModule:
    """`model` in the vocabulary and fused, after the annotate passes up to the one named."""
    gm = run_stage(run_stage(trace(model, (x,)), "normalize"), "fuse")
    gm.meta["qconfig_mapping"] = mapping or get_default_qconfig_mapping()
    for each in passes_of("annotate"):
        gm = each.run(gm)
        if each.name == until:
            break
    return gm
