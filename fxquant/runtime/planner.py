"""From the graph of an int8 region and the layout of its inputs to a native program.

Each node of the graph gets a value (where its result lies, see homes.py) and emits the kernel calls that compute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxquant.graph import surgery
from fxquant.graph.integers import layer_of
from fxquant.kernels import _kernels
from fxquant.ops.op import op_of
from fxquant.runtime.bands import in_bands
from fxquant.runtime.call import Call, fetching_ahead
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.homes import Homes, is_cat
from fxquant.runtime.layer import Layer
from fxquant.runtime.memory import ARENA, Buffer, arrange, lower_bound
from fxquant.runtime.meta import is_known, meta_values
from fxquant.runtime.movement import can_move, moved
from fxquant.runtime.pieces import in_pieces
from fxquant.runtime.plan import Output, Plan
from fxquant.runtime.rows import joined_rows
from fxquant.runtime.shares import in_shares, waits
from fxquant.runtime.value import Value

# A program below this many multiply-adds (10 us or so) is over before a second thread has begun.
SERIAL_WORK = 2_000_000


def can_plan(gm: GraphModule, node: Node) -> bool:
    """Whether a native program can compute the node, if it knows every size that the node reads.

    It can if the node is a layer, or moves integers.
    """
    layer = layer_of(gm, node)
    if layer is not None:
        return layer.plannable
    row = op_of(node)
    return row is not None and can_move(node, row)


class Planner:
    """Plans one graph for inputs of one layout and for so many threads."""

    def __init__(self, gm: GraphModule, inputs: Sequence[Tensor], threads: int) -> None:
        self.gm = gm
        self.nodes = list(gm.graph.nodes)
        self.inputs = inputs
        self.meta = meta_values(gm, inputs)
        self.moved = {node for node in self.nodes if _is_tensors(self.meta.get(node))}
        self.values: dict[Node, Any] = {}
        self.emitter = Emitter(self.nodes[0], threads)
        self.homes = Homes(gm, self.meta, self.emitter)

    def plan(self) -> Plan:
        """The program. Raises InputError or ValueError if the inputs do not fit the graph."""
        for node in self.nodes:
            self.emitter.node = node
            self.values[node] = value = self._value(node)
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    self.homes.occupy(node, each)
        outputs = self._outputs()
        cache = _kernels.cache_bytes()
        threads = self.emitter.threads if self._work(self.emitter.calls) > SERIAL_WORK else 1
        calls = fetching_ahead(joined_rows(in_bands(self.emitter.calls, cache)), cache // 2)
        calls, pieces = in_pieces(in_shares(calls, threads), threads)
        buffers = [*self.emitter.buffers, *pieces]
        program = _program(calls, buffers, len(self.inputs) + len(outputs))
        return Plan(
            program,
            threads,
            tuple(calls),
            tuple(outputs),
            single=isinstance(self.nodes[-1].args[0], Node),
            bound=lower_bound(buffers),
            constants=tuple(self.emitter.constants),
        )

    def _work(self, calls: Sequence[Call]) -> int:
        """Roughly how long the calls take, in multiply-adds; a byte that is read or written counts as eight."""
        layers = {node: layer_of(self.gm, node) for node in self.nodes}
        macs = sum(
            layer.multiply_adds(self.meta[node], *map_arg(node.args, self.meta.__getitem__))
            for node, layer in layers.items()
            if layer is not None
        )
        return macs + 8 * sum(v.size for call in calls for v in call.operands if v is not None)

    def _value(self, node: Node) -> Any:
        """Where the node's result lies: a value, or several, in a list; None if it is no tensor."""
        if node.op == "placeholder":
            index = sum(1 for n in self.values if n.op == "placeholder")
            return Value.like(self.inputs[index], Buffer(0, base=index + 1))
        if node.op == "get_attr" or is_known(self.meta[node]):
            tensor = surgery.fetch(self.gm, node) if node.op == "get_attr" else self.meta[node]
            return self.emitter.tensor(tensor)
        layer = layer_of(self.gm, node)
        if layer is not None:
            return self._computed(node, layer)
        row = op_of(node)
        if row is None or node not in self.moved:
            return None  # a size, known from the layout of the inputs
        if is_cat(node):
            return self._concatenated(node)
        return moved(self.emitter, row, self.meta[node], *map_arg(node.args, self._argument))

    def _computed(self, node: Node, layer: Layer) -> Any:
        inputs = [map_arg(argument, self._argument) for argument in node.args]
        known: Any = map_arg(node.args, self.meta.__getitem__)
        same = layer.hands_on(*known)
        if same is not None:
            input: Any = inputs[same]
            handed_on: Value = input.viewed(lambda x: x.expand(self.meta[node].shape))
            return handed_on
        y: Any = (
            self.homes.of_layer(node, layer, inputs)
            if isinstance(self.meta[node], Tensor)
            else [self.emitter.new(meta) for meta in self.meta[node]]
        )
        layer.emit(self.emitter, y, *inputs)
        return y

    def _concatenated(self, node: Node) -> Value:
        for piece, place in self.homes.to_copy(node):
            self.emitter.copy(place, self.values[piece])
        return self.homes.of_cat(node)

    def _argument(self, node: Node) -> Any:
        """What an argument stands for: a value, several, or a number."""
        value = self.values[node]
        return self.meta[node] if value is None else value

    def _outputs(self) -> list[Output]:
        """Gives every result memory of its own, after the inputs'."""
        outputs: list[Output] = []
        results = self.nodes[-1].args[0]
        for node in [results] if isinstance(results, Node) else results:
            value: Value = self.values[node]
            if value.buffer.base != ARENA:
                self.emitter.node = node
                value = self.emitter.copied(value, torch.contiguous_format)
            value.buffer.base = len(self.inputs) + len(outputs) + 1
            outputs.append(Output(value))
        return outputs


def _program(calls: Sequence[Call], buffers: Sequence[Buffer], outside: int) -> Any:
    """The native program of `calls`, in an arena that holds `buffers`; `outside` addresses are given at each run."""
    for step, call in enumerate(calls):
        for value in chain.from_iterable(each.operands for each in call.shares or (call,)):
            if value is not None:
                value.buffer.use(step)
    program = _kernels.Program(arrange(buffers), outside)
    for call, after in zip(calls, waits(calls), strict=True):
        for each in call.joined or call.shares or (call,):
            getattr(program, each.kernel)(*each.arguments)
        if call.joined:
            program.join(len(call.joined))
        if call.shares:
            program.share(len(call.shares), after)
    return program


def _is_tensors(value: Any) -> bool:
    """Whether it is a tensor, or a tuple of them."""
    several = value if isinstance(value, (tuple, list)) else [value]
    return len(several) > 0 and all(isinstance(each, Tensor) for each in several)
