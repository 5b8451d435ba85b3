"""What is put into a model, or a unit of one, to see how long it takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node


def stand_in(node: Node) -> Tensor:
    """Random numbers of the shape that `node` had for the example; integers and bools are 0, which indexes anything."""
    shape, dtype = node.meta["shape"], node.meta.get("dtype") or torch.float32
    return torch.randn(shape, dtype=dtype) if dtype.is_floating_point else torch.zeros(shape, dtype=dtype)
