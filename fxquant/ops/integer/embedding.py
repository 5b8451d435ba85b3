"""embedding of integers: the rows of the table are codes of the output already."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.op import op


@op(activations=(), at_run_time=("indices",))
def int8_embedding(indices: Tensor, rows: Tensor) -> Tensor:
    """indices int [...], rows uint8 [V, E] to uint8 [..., E]."""
    return F.embedding(indices, rows)
