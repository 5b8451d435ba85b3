"""What each node of an int8 graph takes and does: seconds, multiply-adds, bytes; also in graphs inside it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils import _pytree as pytree

from fxquant.bench.timing import spread
from fxquant.graph.integers import layer_of
from fxquant.ops.op import op_name, op_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.plan import Plan
from fxquant.runtime.region import Int8Region
from fxquant.runtime.work import multiply_adds

WARM_UP = 3


@dataclass(frozen=True)
class Work:
    """What one call of a node does.

    `op`: what it calls, in a word. `multiply_adds` of its weights. `bytes` of the tensors that it reads, weights
    included, and writes; none if it gives a view of what it reads. `integer`: it is computed by a kernel of ours.
    """

    op: str
    multiply_adds: int
    bytes: int
    integer: bool


def node_times(model: GraphModule, inputs: tuple[Any, ...], rounds: int = 30) -> list[tuple[Node, float]]:
    """Every node that computes, in running order, and its median seconds over so many runs of the whole model.

    Within a region a node has the time of its steps in the native program; one that is a view there takes none.
    """
    seconds: dict[Node, list[float]] = defaultdict(list)
    plans: dict[Int8Region, Plan] = {}

    def visit(call: Call) -> Any:
        start = time.perf_counter()
        value = call.run()
        seconds[call.node].append(time.perf_counter() - start)
        return value

    def visit_region(region: Int8Region, arguments: tuple[Any, ...]) -> Any:
        if region not in plans:
            plans[region] = region.plan(*arguments)
        value, times = plans[region].run_timed(arguments)
        for node in region.graph.nodes:
            if node.op.startswith("call_"):
                seconds[node].append(times.get(node, 0.0))
        return value

    with torch.inference_mode():
        for _ in range(WARM_UP + rounds):
            _Walk(model, visit, visit_region).run(*inputs)
    return [(node, spread(times[WARM_UP:]).median) for node, times in seconds.items()]


def node_work(model: GraphModule, inputs: tuple[Any, ...]) -> dict[Node, Work]:
    """The work of the same nodes on these inputs."""
    work: dict[Node, Work] = {}

    def visit(call: Call) -> Any:
        value = call.run()
        work[call.node] = _work(call, value)
        return value

    with torch.inference_mode():
        _Walk(model, visit).run(*inputs)
    return work


@dataclass(frozen=True)
class Call:
    """A node about to compute, with the values of its arguments."""

    graph_module: GraphModule
    node: Node
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    run: Callable[[], Any]


class _Walk(Interpreter):
    """Runs a graph by `visit`, which runs each call and returns its value. A call of another graph is walked itself,
    but a region goes to `visit_region`, if there is one.
    """

    def __init__(
        self,
        gm: GraphModule,
        visit: Callable[[Call], Any],
        visit_region: Callable[[Int8Region, tuple[Any, ...]], Any] | None = None,
    ) -> None:
        super().__init__(gm)
        self.graph_module, self.visit, self.visit_region = gm, visit, visit_region

    def run_node(self, n: Node) -> Any:
        if not n.op.startswith("call_"):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        inner = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if isinstance(inner, Int8Region) and self.visit_region is not None:
            return self.visit_region(inner, args)
        if isinstance(inner, GraphModule):
            return _Walk(inner, self.visit, self.visit_region).run(*args, **kwargs)
        run = partial(getattr(self, n.op), n.target, args, kwargs)
        return self.visit(Call(self.graph_module, n, (args, kwargs), run))


def _work(call: Call, value: Any) -> Work:
    layer = layer_of(call.graph_module, call.node)
    read = _tensors((call.arguments, [*layer.buffers()] if layer else []))
    return Work(
        op_name(call.graph_module, call.node),
        multiply_adds=_multiply_adds(call, layer, value),
        bytes=_bytes_moved(read, _tensors(value)),
        integer=layer is not None,
    )


def _multiply_adds(call: Call, layer: Layer | None, value: Any) -> int:
    row = op_of(call.node)
    if layer is not None:
        return layer.multiply_adds(value, *call.arguments[0])
    if row is None or row.weight is None:
        return 0
    args, kwargs = call.arguments
    arguments = row.signature.bind(*args, **kwargs).arguments
    return multiply_adds(arguments[row.weight], arguments["x"] if "transpose" in row.name else value)


def _bytes_moved(read: list[Tensor], written: list[Tensor]) -> int:
    places = {tensor.untyped_storage().data_ptr() for tensor in read}
    if all(tensor.untyped_storage().data_ptr() in places for tensor in written):
        return 0
    return sum(tensor.nbytes for tensor in (*read, *written))


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
