"""From the graph of an int8 region and the layout of its inputs to a native program.

Each node of the graph gets a value (where its result lies) and appends the kernel calls that compute it. Data movement
is a view where torch would make one, else a copy. A concatenation is neither where its pieces can be written into their
slices in the first place. An image that a padded convolution reads gets a halo of zero points, so that the
convolution needs no padded copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.integers import layer_of
from fxquant.kernels import _kernels
from fxquant.kernels.library import ABSOLUTE
from fxquant.ops.op import Op, op_of
from fxquant.runtime.bands import in_bands
from fxquant.runtime.call import Call, Window, fetching_ahead
from fxquant.runtime.layer import Layer
from fxquant.runtime.memory import ARENA, Buffer, arrange, lower_bound
from fxquant.runtime.plan import Output, Plan
from fxquant.runtime.value import Halo, Value

# Data movement that is a view of its input, or a copy in row-major order.
MOVES = (
    *(ops.flatten, ops.unflatten, ops.reshape, ops.permute, ops.squeeze, ops.unsqueeze, ops.expand),
    *(ops.getitem, ops.chunk, ops.split, ops.unbind),
)


def can_plan(gm: GraphModule, node: Node) -> bool:
    """Whether a native program can compute the node, if it knows every size that the node reads.

    It can if the node is a layer, or moves integers.
    """
    layer = layer_of(gm, node)
    if layer is not None:
        return layer.plannable
    row = op_of(node)
    if row is None or (row.call is not ops.cat and row.call not in MOVES):
        return False
    if row.call is ops.getitem and isinstance(node.args[1], tuple):
        return all(i is None or i is Ellipsis or isinstance(i, (int, slice, Node)) for i in node.args[1])
    return True


# A program below this many multiply-adds (10 us or so) is over before a second thread has begun.
SERIAL_WORK = 2_000_000


class Planner:
    """Plans one graph for inputs of one layout."""

    def __init__(self, gm: GraphModule, inputs: Sequence[Tensor]) -> None:
        self.gm = gm
        self.nodes = list(gm.graph.nodes)
        self.order = {node: i for i, node in enumerate(self.nodes)}
        self.inputs = inputs
        self.calls: list[Call] = []
        self.buffers: list[Buffer] = []
        self.values: dict[Node, Any] = {}
        self.tenants: dict[Buffer, list[Node]] = {}
        self.homes: dict[Node, Value] = {}
        self.gathered: dict[Node, Value] = {}
        self.constants: list[Tensor] = []
        self.meta = _Shapes(gm).shapes(inputs)
        self.moved = {node for node in self.nodes if _is_tensors(self.meta.get(node))}
        self.node = self.nodes[0]

    def plan(self) -> Plan:
        """The program. Raises InputError or ValueError if the inputs do not fit the graph."""
        self._choose_homes()
        for node in self.nodes:
            self.node = node
            self.values[node] = value = self._value(node)
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    self.tenants.setdefault(each.buffer, []).append(node)
        outputs = self._outputs()
        cache = _kernels.cache_bytes()
        self.calls = fetching_ahead(in_bands(self.calls, cache), cache // 2)
        for step, call in enumerate(self.calls):
            for value in call.operands:
                if value is not None:
                    value.buffer.use(step)
        arena = arrange(self.buffers)
        program = _kernels.Program(arena, len(self.inputs) + len(outputs))
        for call in self.calls:
            getattr(program, call.kernel)(*call.arguments)
        return Plan(
            program,
            torch.get_num_threads() if self._work() > SERIAL_WORK else 1,
            tuple(self.calls),
            tuple(outputs),
            single=isinstance(self.nodes[-1].args[0], Node),
            bound=lower_bound(self.buffers),
            constants=tuple(self.constants),
        )

    def _work(self) -> int:
        """Roughly how long the program takes, in multiply-adds; a byte that is read or written counts as eight."""
        layers = {node: layer_of(self.gm, node) for node in self.nodes}
        macs = sum(layer.macs(self.meta[node].shape) for node, layer in layers.items() if layer is not None)
        return macs + 8 * sum(v.size for call in self.calls for v in call.operands if v is not None)

    # What layers ask for.

    def call(
        self, kernel: str, operands: Iterable[Value | None], *constants: Any, window: Window | None = None, **more: Any
    ) -> None:
        """Appends a kernel call, its fields as of Call."""
        self.calls.append(Call(self.node, kernel, tuple(operands), constants, window, **more))

    def scratch(self, size: int) -> Value | None:
        """`size` bytes for the next call alone."""
        if size == 0:
            return None
        return Value(self._buffer(size), 0, (size,), (1,))

    def thread_scratch(self, size: int) -> Value | None:
        """`size` bytes for each thread, for the next call alone."""
        return self.scratch(size * torch.get_num_threads())

    def constant(self, tensor: Tensor) -> int:
        """The address of `tensor`, which the plan keeps alive."""
        self.constants.append(tensor)
        return tensor.data_ptr()

    def images(self, x: Value) -> Value:
        """`x` [N, C, H, W] with the channels of a pixel side by side: itself, or a copy."""
        return x if x.is_images else self._copied(x, torch.channels_last)

    def channels_last(self, x: Value) -> Value:
        """`x` [N, C, ...] with neighbouring channels side by side: itself, or a copy."""
        if x.strides[1] == 1 or x.shape[1] <= 1:
            return x
        n, c, *positions = x.shape
        copy = self._new(torch.empty((n, *positions, c), dtype=x.dtype, device="meta").movedim(-1, 1))
        self.call("copy", (copy, x))
        return copy

    def dense_rows(self, x: Value) -> Value:
        """`x` with the elements of its last dimension side by side: itself, or a copy."""
        return x if x.strides[-1] == 1 or x.shape[-1] <= 1 else self._copied(x, torch.contiguous_format)

    def rows(self, x: Value, dims: int = 1) -> Value:
        """`x` as [rows, K], K of its last `dims` dimensions, the elements of a row side by side: a view, or a copy."""
        flat = x.viewed(lambda t: _as_rows(t, dims))
        if flat is None or (flat.strides[1] != 1 and flat.shape[1] > 1):
            flat = self._copied(x, torch.contiguous_format).viewed(lambda t: _as_rows(t, dims))
        assert isinstance(flat, Value)
        return flat

    def _copied(self, x: Value, memory_format: torch.memory_format) -> Value:
        dense = torch.empty(x.shape, dtype=x.dtype, device="meta", memory_format=memory_format)
        copy = self._new(dense)
        self.call("copy", (copy, x))
        return copy

    # Values.

    def _buffer(self, size: int) -> Buffer:
        buffer = Buffer(size)
        self.buffers.append(buffer)
        return buffer

    def _new(self, meta: Tensor) -> Value:
        return Value.like(meta, self._buffer(_extent(meta) * meta.dtype.itemsize))

    def _value(self, node: Node) -> Any:
        if node.op == "placeholder":
            index = sum(1 for n in self.nodes[: self.order[node]] if n.op == "placeholder")
            return Value.like(self.inputs[index], Buffer(0, base=index + 1))
        if node.op == "get_attr":
            tensor = surgery.fetch(self.gm, node)
            return Value.like(tensor, Buffer(0, ABSOLUTE, self.constant(tensor)))
        layer = layer_of(self.gm, node)
        if layer is not None:
            return self._computed(node, layer)
        row = op_of(node)
        if row is None or node not in self.moved:
            return None  # a size, known from the layout of the inputs
        return self._concatenated(node) if row.call is ops.cat else self._moved(node, row)

    def _computed(self, node: Node, layer: Layer) -> Value:
        inputs = [map_arg(argument, self._argument) for argument in node.args]
        y = self.homes.get(node) or self._in_place(node, layer, inputs) or self._with_halo(node)
        layer.emit(self, y, *inputs)
        return y

    def _argument(self, node: Node) -> Any:
        """What an argument stands for: a value, several, or a number."""
        value = self.values[node]
        return self.meta[node] if value is None else value

    def _moved(self, node: Node, row: Op) -> Any:
        arguments: Any = map_arg(node.args, self._argument)
        value, *rest = arguments
        if isinstance(value, list):
            return value[rest[0]]
        view = value.viewed(lambda x: row.body(x, *rest))
        if view is not None:
            return view
        dense = self._copied(value, torch.contiguous_format)
        return dense.viewed(lambda x: row.body(x, *rest))

    def _concatenated(self, node: Node) -> Value:
        y = self.homes.get(node) or self.gathered[node]
        for piece, place in self._pieces(node, y):
            if self.homes.get(piece) != place:
                self.call("copy", (place, self.values[piece]))
        return y

    def _pieces(self, node: Node, y: Value) -> Iterator[tuple[Node, Value]]:
        """What `node` concatenates, each piece with its slice of the result."""
        row = op_of(node)
        assert row is not None
        arguments, start = row.bind(node), 0
        for piece in arguments["tensors"]:
            size = self.meta[piece].shape[arguments["dim"]]
            yield piece, y.narrow(arguments["dim"], start, size)
            start += size

    # Where results go.

    def _choose_homes(self) -> None:
        """Lets the pieces of concatenations be computed where they belong, the last concatenation first."""
        for node in reversed(self.nodes):
            if not _is_cat(node):
                continue
            y = self.homes.get(node)
            if y is None:
                y = self.gathered[node] = self._new(self.meta[node])
            pieces = list(self._pieces(node, y))
            often = Counter(piece for piece, _ in pieces)
            for piece, place in pieces:
                if piece not in self.homes and often[piece] == 1 and place.is_images and self._can_move(piece):
                    self.homes[piece] = place

    def _can_move(self, node: Node) -> bool:
        """Whether a node's result may lie in a slice of something larger: images from a kernel or from cat."""
        layer = layer_of(self.gm, node)
        computed = _is_cat(node) if layer is None else layer.any_strides
        read_by_layers = all(layer_of(self.gm, user) is not None or _is_cat(user) for user in node.users)
        return computed and read_by_layers and self.meta[node].dim() == 4 and self.meta[node].dtype is torch.uint8

    def _in_place(self, node: Node, layer: Layer, inputs: Sequence[Any]) -> Value | None:
        """An input that nothing reads afterwards and that the kernel may overwrite, laid out as the result.

        A kernel reads one element of it before it writes the same one; another input in that memory it reads in an
        order of its own.
        """
        meta = self.meta[node]
        wanted = (tuple(meta.shape), tuple(meta.stride()), meta.dtype, self._halo(node))
        buffers = [x.buffer for x in inputs if isinstance(x, Value)]
        for i in layer.overwrites:
            x = inputs[i] if i < len(inputs) else None
            if not isinstance(x, Value) or buffers.count(x.buffer) > 1:
                continue
            if (x.shape, x.strides, x.dtype, x.halo) == wanted and self._ends_here(x, i):
                return x
        return None

    def _ends_here(self, x: Value, index: int) -> bool:
        """Whether the memory of `x`, argument number `index` of the current node, is free behind this node."""
        now = self.order[self.node]
        last = max(self.order[user] for tenant in self.tenants[x.buffer] for user in tenant.users)
        return x.buffer.base == ARENA and last <= now and self.node.args[index] not in self.homes

    def _halo(self, node: Node) -> Halo:
        """The padding that convolutions want around the node's result, if only layers read it."""
        layers = {user: layer_of(self.gm, user) for user in node.users}
        writer = layer_of(self.gm, node)
        if self.meta[node].dim() != 4 or None in layers.values() or writer is None or not writer.any_strides:
            return Halo()
        wanted = [layer.halo for user, layer in layers.items() if layer is not None and user.args[0] is node]
        return Halo(max((h.rows for h in wanted), default=0), max((h.columns for h in wanted), default=0))

    def _with_halo(self, node: Node) -> Value:
        halo, meta = self._halo(node), self.meta[node]
        if halo == Halo():
            return self._new(meta)
        n, c, h, w = meta.shape
        size = (n, c, h + 2 * halo.rows, w + 2 * halo.columns)
        padded = self._new(torch.empty(size, dtype=meta.dtype, device="meta", memory_format=torch.channels_last))
        inner = replace(padded.narrow(2, halo.rows, h).narrow(3, halo.columns, w), halo=halo)
        layers = [layer_of(self.gm, user) for user in node.users]
        code = next(layer.constant("x_zero_point") for layer in layers if layer is not None and layer.halo != Halo())
        self.call("fill_halo", (inner,), halo.rows, halo.columns, code)
        return inner

    def _outputs(self) -> list[Output]:
        """Gives every result memory of its own, after the inputs'."""
        outputs: list[Output] = []
        results = self.nodes[-1].args[0]
        for node in [results] if isinstance(results, Node) else results:
            value: Value = self.values[node]
            if value.buffer.base != ARENA:
                self.node = node
                value = self._copied(value, torch.contiguous_format)
            value.buffer.base = len(self.inputs) + len(outputs) + 1
            outputs.append(Output(value))
        return outputs


class _Shapes(Interpreter):
    """Runs a graph on tensors without memory."""

    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.extra_traceback = False
        self.seen: dict[Node, Any] = {}

    def shapes(self, inputs: Sequence[Tensor]) -> dict[Node, Any]:
        """For every node what it gives, as meta tensors."""
        self.run(*(torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for x in inputs))
        return self.seen

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.fetch_attr(target)
        assert isinstance(layer, Layer)
        return layer.run(*args, **kwargs)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op == "get_attr":
            value = value.to("meta")
        self.seen[n] = value
        return value


def _is_tensors(value: Any) -> bool:
    """Whether it is a tensor, or a tuple of them."""
    several = value if isinstance(value, (tuple, list)) else [value]
    return len(several) > 0 and all(isinstance(each, Tensor) for each in several)


def _extent(meta: Tensor) -> int:
    """Elements from the first to the last one."""
    return 1 + sum((size - 1) * stride for size, stride in zip(meta.shape, meta.stride(), strict=True))


def _as_rows(x: Tensor, dims: int) -> Tensor:
    last = x.dim() - dims
    return x.reshape(x.shape[:last].numel(), x.shape[last:].numel())


def _is_cat(node: Node) -> bool:
    row = op_of(node)
    return row is not None and row.call is ops.cat
