"""How long the units of a model take on this machine, with the threads that torch has now.

float       every op as eager torch runs it, its dispatch included
int8        of each kernel: time(x) - time(the same of no images), and what a region adds (overhead.py);
            data movement takes no longer than in float
quantize    the kernel, likewise, and what entering and leaving a region costs
dequantize  the kernel
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxquant.graph.integers import layer_of
from fxquant.observer import ObserverBase
from fxquant.ops.op import op_of
from fxquant.placement.alone import alone, in_int8, signature
from fxquant.placement.overhead import Overhead, measured_overhead
from fxquant.placement.problem import Kernel
from fxquant.placement.stand_in import stand_in
from fxquant.placement.timing import least_seconds
from fxquant.placement.units import Unit
from fxquant.qparams import QParams
from fxquant.runtime.layer import Layer
from fxquant.runtime.layers import Dequantize, Quantize
from fxquant.target import active_isa

QUANTIZE, DEQUANTIZE = (layer({"q": QParams(1 / 64, 128)}) for layer in (Quantize, Dequantize))

Call = partial[Any]
Measured = TypeVar("Measured")


class Costs(Protocol):
    """What `place` asks of a cost model; all times in seconds."""

    def kernel(self, gm: GraphModule, unit: Unit) -> Kernel | None:
        """What `unit` of the prepared `gm` takes; None if it reads a number that is known only while the model runs."""

    def quantize(self, shape: Sequence[int]) -> float:
        """What it takes to enter an int8 region with a tensor of `shape`."""

    def dequantize(self, shape: Sequence[int]) -> float:
        """What it takes to leave one."""


class MeasuredCosts:
    """Runs everything on random numbers of the example's shapes. What is equal is measured once a process."""

    _known: ClassVar[dict[tuple[Any, ...], Any]] = {}

    def kernel(self, gm: GraphModule, unit: Unit) -> Kernel | None:
        single = alone(gm, unit)
        if single is None:
            return None
        return self._once(signature(single), lambda: _kernel(single, self.overhead.kernel))

    def quantize(self, shape: Sequence[int]) -> float:
        make = partial(torch.randn, tuple(shape))
        return self.overhead.region + self._once(("quantize", *shape), lambda: _seconds(partial(QUANTIZE, make())))

    def dequantize(self, shape: Sequence[int]) -> float:
        make = partial(torch.zeros, tuple(shape))
        return self._once(("dequantize", *shape), lambda: _seconds(partial(DEQUANTIZE, QUANTIZE(make()))))

    @property
    def overhead(self) -> Overhead:
        """What int8 costs beside arithmetic."""
        return self._once(("overhead",), measured_overhead)

    def _once(self, what: tuple[Any, ...], measure: Callable[[], Measured]) -> Measured:
        key = (active_isa(), torch.get_num_threads(), *what)
        if key not in self._known:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self._known[key] = measure()
        known: Measured = self._known[key]
        return known


def _kernel(single: GraphModule, overhead: float) -> Kernel:
    """Both precisions are timed in turns."""
    in_float = [call for _, call in _calls(single)]
    pairs = _int8_calls(in_int8(single))
    seconds = least_seconds([*in_float, *(call for pair in pairs for call in pair)])
    float_seconds = sum(seconds[: len(in_float)])
    kernels = sum(isinstance(call.func, Layer) for call, _ in pairs)
    int8_seconds = _differences(seconds[len(in_float) :]) + kernels * overhead
    if _moves(single):
        int8_seconds = min(int8_seconds, float_seconds)
    return Kernel(int8_seconds, float_seconds)


def _moves(single: GraphModule) -> bool:
    """Whether the unit only moves data: a quarter of the bytes in int8, so this alone is no reason to leave it."""
    return all(row.moves for node in single.graph.nodes if (row := op_of(node)) is not None)


def _seconds(call: Call) -> float:
    """Of a layer's kernel alone."""
    return _differences(least_seconds([call, _of_no_images(call)]))


def _differences(seconds: Sequence[float]) -> float:
    """The sum over pairs of the first less the second; noise makes none negative."""
    return sum(max(whole - rest, 0.0) for whole, rest in zip(seconds[::2], seconds[1::2], strict=True))


def _int8_calls(gm: GraphModule) -> list[tuple[Call, Call]]:
    """What runs between the first quantize and the last dequantize, each call with what of it is not the kernel.

    Of data movement the whole call counts, as it does in float.
    """
    return [
        (call, _of_no_images(call) if isinstance(call.func, Layer) else partial(int))
        for node, call in _calls(gm)
        if not _is_border(gm, node)
    ]


def _of_no_images(call: Call) -> Call:
    """The same call, of a batch of 0; where dimension 0 is no batch, or the only one, of 0 of what it takes."""
    tensors = [x for x in call.args if isinstance(x, Tensor)]
    rank = max(x.dim() for x in tensors)
    layer = call.func
    assert isinstance(layer, Layer)
    has_batch = rank > 1 and not layer.crosses_examples(*tensors)

    def empty(x: Any) -> Any:
        if not isinstance(x, Tensor) or x.dim() < rank:
            return x
        return x[:0] if has_batch else x[None][:0]

    return partial(call.func, *(empty(x) for x in call.args))


def _is_border(gm: GraphModule, node: Node) -> bool:
    layer = layer_of(gm, node)
    if layer is None or not layer.at_boundary:
        return False
    return any(x.op == "placeholder" for x in node.all_input_nodes) or any(user.op == "output" for user in node.users)


class _Calls(Interpreter):
    """Runs a graph and keeps the call of every op and layer, and the fetching of parameters."""

    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.made: list[tuple[Node, Call]] = []

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        return args[0] if isinstance(module, ObserverBase) else module(*args, **kwargs)  # they are not to learn noise

    def run_node(self, n: Node) -> Any:
        target: Any = self.fetch_attr(str(n.target)) if n.op == "call_module" else n.target
        if n.op == "get_attr":
            self.made.append((n, partial(attrgetter(str(n.target)), self.module)))
        if op_of(n) is not None or isinstance(target, Layer):
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            self.made.append((n, partial(target, *args, **kwargs)))
        return super().run_node(n)


def _calls(gm: GraphModule) -> list[tuple[Node, Call]]:
    calls = _Calls(gm)
    calls.run(*(stand_in(node) for node in gm.graph.nodes if node.op == "placeholder"))
    return calls.made
