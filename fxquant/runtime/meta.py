"""What every node of a region gives, found without memory and without arithmetic.

What follows from sizes alone, such as arange(x.shape[1]), is known: a tensor with its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils import _pytree as pytree

from fxquant.ops.op import OPS, Op
from fxquant.runtime.layer import Layer
from fxquant.runtime.movement import result


def meta_values(gm: GraphModule, inputs: Sequence[Tensor]) -> dict[Node, Any]:
    """For every node of `gm` what it gives for inputs of this layout, as meta tensors where it is not known.

    Raises InputError or ValueError if the inputs do not fit the graph.
    """
    run = _OnMeta(gm)
    run.run(*(torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for x in inputs))
    return run.seen


class _OnMeta(Interpreter):
    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.extra_traceback = False
        self.seen: dict[Node, Any] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.fetch_attr(target)
        assert isinstance(layer, Layer)
        layer.check_dtypes(*args)
        if layer.ahead and all(map(is_known, _tensors(args))):
            return layer.run(*args, **kwargs)
        return without_memory(layer.run(*without_memory(args), **kwargs))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        row = OPS.get(target)
        if not all(map(is_known, _tensors(args))):
            return without_memory(self._called(row, target, without_memory(args), kwargs))
        return self._called(row, target, args, kwargs)

    def _called(self, row: Op | None, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(target, args, kwargs) if row is None else result(row, *args)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op == "get_attr":
            value = value.to("meta")
        self.seen[n] = value
        return value


def is_known(value: Any) -> bool:
    """Whether this is a tensor with its numbers."""
    return isinstance(value, Tensor) and value.device.type != "meta"


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]


def without_memory(values: Any) -> Any:
    """The same with meta tensors for all."""
    return pytree.tree_map_only(Tensor, lambda x: x.to("meta"), values)
