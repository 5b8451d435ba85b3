"""Where the result of each node lies: in a slice of a concatenation, over an input, or in memory of its own.

A concatenation copies nothing where its pieces can be written into their slices in the first place. An image that a
padded convolution reads gets a halo of zero points, so that the convolution needs no padded copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph.integers import layer_of
from fxquant.ops.op import op_of
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer
from fxquant.runtime.memory import ARENA, Buffer
from fxquant.runtime.value import Halo, Value


class Homes:
    """Finds memory for the results of `gm`'s nodes, given what each of them gives, as meta tensors."""

    def __init__(self, gm: GraphModule, meta: Mapping[Node, Any], emitter: Emitter) -> None:
        self.gm, self.meta, self.emitter = gm, meta, emitter
        self.order = {node: i for i, node in enumerate(gm.graph.nodes)}
        self.tenants: dict[Buffer, list[Node]] = {}
        self.slices: dict[Node, Value] = {}
        self.gathered: dict[Node, Value] = {}
        self._share_out_slices()

    def of_cat(self, node: Node) -> Value:
        """Where a concatenation gathers its pieces."""
        return self.slices.get(node) or self.gathered[node]

    def of_layer(self, node: Node, layer: Layer, inputs: Sequence[Any]) -> Value:
        """Where `layer`, called by the current node, writes its result."""
        return self.slices.get(node) or self._in_place(node, layer, inputs) or self._with_halo(node)

    def to_copy(self, node: Node) -> Iterator[tuple[Node, Value]]:
        """The pieces of a concatenation that are not computed where they belong, each with its place there."""
        for piece, place in self._pieces(node, self.of_cat(node)):
            if self.slices.get(piece) != place:
                yield piece, place

    def occupy(self, node: Node, value: Value) -> None:
        """Notes that a result of `node`, from now on, is `value`."""
        self.tenants.setdefault(value.buffer, []).append(node)

    def _share_out_slices(self) -> None:
        """Lets the pieces of concatenations be computed where they belong, the last concatenation first."""
        for node in filter(is_cat, reversed(self.order)):
            y = self.slices.get(node)
            if y is None:
                y = self.gathered[node] = self.emitter.new(self.meta[node])
            pieces = list(self._pieces(node, y))
            often = Counter(piece for piece, _ in pieces)
            for piece, place in pieces:
                if piece not in self.slices and often[piece] == 1 and place.is_images and self._may_move(piece):
                    self.slices[piece] = place

    def _pieces(self, node: Node, y: Value) -> Iterator[tuple[Node, Value]]:
        """What `node` concatenates, each piece with its slice of the result."""
        row = op_of(node)
        assert row is not None
        arguments, start = row.bind(node), 0
        for piece in arguments["tensors"]:
            size = self.meta[piece].shape[arguments["dim"]]
            yield piece, y.narrow(arguments["dim"], start, size)
            start += size

    def _may_move(self, node: Node) -> bool:
        """Whether a node's result may lie in a slice of something larger: images from a kernel or from cat."""
        layer = layer_of(self.gm, node)
        computed = is_cat(node) if layer is None else layer.any_strides
        read_by_layers = all(layer_of(self.gm, user) is not None or is_cat(user) for user in node.users)
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
            if (x.shape, x.strides, x.dtype, x.halo) == wanted and self._ends_here(x, node, i):
                return x
        return None

    def _ends_here(self, x: Value, node: Node, index: int) -> bool:
        """Whether the memory of `x`, argument number `index` of `node`, is free behind this node."""
        last = max(self.order[user] for tenant in self.tenants[x.buffer] for user in tenant.users)
        return x.buffer.base == ARENA and last <= self.order[node] and node.args[index] not in self.slices

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
            return self.emitter.new(meta)
        n, c, h, w = meta.shape
        size = (n, c, h + 2 * halo.rows, w + 2 * halo.columns)
        padded = self.emitter.new(torch.empty(size, dtype=meta.dtype, device="meta", memory_format=torch.channels_last))
        inner = replace(padded.narrow(2, halo.rows, h).narrow(3, halo.columns, w), halo=halo)
        layers = [layer_of(self.gm, user) for user in node.users]
        code = next(layer.constant("x_zero_point") for layer in layers if layer is not None and layer.halo != Halo())
        self.emitter.call("fill_halo", (inner,), halo.rows, halo.columns, code)
        return inner


def is_cat(node: Node) -> bool:
    """Whether the node concatenates tensors."""
    row = op_of(node)
    return row is not None and row.call is ops.cat
