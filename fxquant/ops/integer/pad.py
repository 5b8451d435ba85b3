"""pad of integers: the real number that is added stands as its code."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.op import op


@op()
def int8_pad(x: Tensor, pad: tuple[int, ...], value_code: int) -> Tensor:
    """uint8 of any shape; `pad` counts from the last dimension, (left, right, top, bottom …); negative amounts crop."""
    return F.pad(x, pad, "constant", value_code)
