"""A graph as it looked before a pass, to tell afterwards what the pass did: as text, and which values it changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from fxquant.graph.tree import value_at
from fxquant.graph.watching import value_of

SHOWN = 30  # lines of a diff in an error


@dataclass(frozen=True)
class Look:
    """`lines`: the graph, node by node. `values`: a checksum of each parameter and buffer that it fetches.

    `inputs`: their names. `outputs`: their shapes and dtypes, None where one is not known; in place of the shape, what
    one is whatever goes in. `known`: the shapes and dtypes of the nodes whose shape is known, by name.
    """

    lines: tuple[str, ...]
    values: dict[str, int]
    inputs: list[str]
    outputs: list[tuple[Any, Any]]
    known: dict[str, tuple[Any, Any]]

    @classmethod
    def at(cls, gm: GraphModule) -> Look:
        """The graph as it is now."""
        nodes = list(gm.graph.nodes)
        fetched = {str(node.target): constant_of(gm, node) for node in nodes if node.op == "get_attr"}
        return cls(
            lines=tuple(str(node.format_node()) for node in nodes),
            values={name: _checksum(value) for name, value in fetched.items() if value is not None},
            inputs=[str(node.target) for node in nodes if node.op == "placeholder"],
            outputs=[(shape, dtype) for _, shape, dtype in returned(gm)],
            known={node.name: noted(node) for node in nodes if noted(node)[0] is not None},
        )

    def changed(self, after: Look) -> list[str]:
        """The paths of the parameters and buffers that hold other values in `after`, or are new there."""
        return [name for name, value in after.values.items() if self.values.get(name) != value]

    def diff(self, after: Look, name: str, most: int | None = None) -> str:
        """What became of the graph, as unified diff of at most so many lines, and in which tensors the values changed.

        `name`: whose doing it was.
        """
        lines = list(unified_diff(self.lines, after.lines, "before", name, lineterm="", n=1))
        shown = lines if most is None or len(lines) <= most else [*lines[:most], f"… {len(lines) - most} lines more"]
        values = [f"~ {each}: its values changed" for each in self.changed(after) if each in self.values]
        return "\n".join([*shown, *values[:most]])


def returned(
    gm: GraphModule, given: Mapping[Node, tuple[Any, Any]] = MappingProxyType({})
) -> Iterator[tuple[Node | None, Any, Any]]:
    """What the model returns, tensor by tensor: the node, and its shape and dtype as `given`, or else as its meta says.

    A constant has no node, and instead of a shape says which it is.
    """
    for x in (x for node in gm.graph.nodes if node.op == "output" for x in pytree.tree_leaves(node.args)):
        if not isinstance(x, Node):
            yield None, f"the constant {x!r}", None
            continue
        node = value_of(x)
        shape, dtype = given.get(node, noted(node))
        if isinstance(shape, tuple) and not isinstance(shape, torch.Size):
            yield from ((node, *each) for each in zip(shape, dtype or [None] * len(shape), strict=True))
        else:
            yield node, shape, dtype


def noted(node: Node) -> tuple[Any, Any]:
    """The shape and the dtype that its meta says, None where it does not."""
    return node.meta.get("shape"), node.meta.get("dtype")


def constant_of(gm: GraphModule, node: Node) -> Tensor | None:
    """The tensor that a get_attr node fetches, or None if there is none."""
    value = value_at(gm, str(node.target))
    return value.detach() if isinstance(value, Tensor) else None


def _checksum(tensor: Tensor) -> int:
    """Of its bytes, since a version counter misses what is written through `.data`; 0 for a tensor without memory."""
    if tensor.device.type != "cpu":
        return 0
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
