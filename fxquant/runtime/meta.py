"""What every node of a region gives, found without memory and without arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxquant.ops.op import OPS
from fxquant.runtime.layer import Layer
from fxquant.runtime.movement import result


def meta_values(gm: GraphModule, inputs: Sequence[Tensor]) -> dict[Node, Any]:
    """For every node of `gm` what it gives for inputs of this layout, as meta tensors.

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
        return layer.run(*args, **kwargs)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        row = OPS.get(target)
        return super().call_function(target, args, kwargs) if row is None else result(row, *args)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op == "get_attr":
            value = value.to("meta")
        self.seen[n] = value
        return value
