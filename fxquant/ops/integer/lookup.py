"""lookup: any function of one uint8, as a table of its 256 values: y = table[x], or table[c][x] for channel c."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.op import op


@op()
def lookup(x: Tensor, table: Tensor) -> Tensor:
    """uint8 of any shape to uint8; `table` is uint8 [256], or [C, 256] with a row for each index of dim 1."""
    if table.dim() == 1:
        return table[x.int()]
    channel = torch.arange(table.shape[0]).reshape(-1, *[1] * (x.dim() - 2))
    return table[channel, x.int()]
