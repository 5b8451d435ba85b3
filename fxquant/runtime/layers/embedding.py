"""Embeddings: rows of a table of integers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import ops
from fxquant.errors import InputError
from fxquant.runtime.layer import Layer, computes


@computes(ops.int8_embedding)
class Int8Embedding(Layer):
    """Integer indices [...] -> uint8 [..., E]. It runs in torch, which checks the indices."""

    inputs = ("indices",)
    reals = ("indices",)
    plannable = False

    def derive(self) -> None:
        self.derived_rows = self.constant("rows")
        if self.derived_rows.dim() != 2:
            raise InputError(f"the rows of an embedding are a matrix, not a tensor of {list(self.derived_rows.shape)}")

    def run(self, indices: Tensor) -> Any:
        if indices.dtype not in (torch.int64, torch.int32):
            raise InputError(f"an embedding takes indices in int64 or int32, not {indices.dtype}")
        try:
            return F.embedding(indices, self.derived_rows)
        except IndexError:
            count = len(self.derived_rows)
            raise InputError(f"an embedding of {count} rows takes indices in 0..{count - 1}") from None
