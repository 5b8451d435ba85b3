"""Embeddings: rows of a table of integers, and sums of them. In no program, since their indices are to be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels.embedding import embedding_bag_now
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.watched import plain


@computes(ops.int8_embedding)
class Int8Embedding(Layer):
    """Integer indices [...] -> uint8 [..., E]."""

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


class Rows(Layer):
    """A layer whose table has a scale and a zero point for each row. It gives real numbers."""

    takes_integers = gives_integers = False
    plannable = False

    def derive(self) -> None:
        scale, zero_point = self.constant("scale"), self.constant("zero_point")
        if scale.shape != zero_point.shape or scale.dim() != 1:
            shapes = f"{list(scale.shape)} and {list(zero_point.shape)}"
            raise InputError(f"scale and zero_point are one for each row of a table, not of the shapes {shapes}")
        self.derived_table = [self.constant("rows"), torch.stack((scale, zero_point), 1), self.constant("width")]
        self.derived_mode = self.constant("mode") or "sum"
        self.derived_options = (self.constant("include_last_offset") or False, self.constant("padding_idx"))
        # Of no bags: says whether the constants fit each other.
        self._bags(torch.empty(0, 1, dtype=torch.int64))

    def _bags(self, indices: Tensor, offsets: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Sums or means of rows, as of rows_embedding_bag."""
        together = plain(indices, offsets, weights)
        bags: Callable[..., Tensor] = embedding_bag_now if together else kernels.embedding_bag
        return bags(indices, *self.derived_table, offsets, self.derived_mode, weights, *self.derived_options)


@computes(ops.rows_embedding)
class RowsEmbedding(Rows):
    """Integer indices [...] -> float32 [..., E]."""

    inputs = ("indices",)
    reals = ("indices",)

    def run(self, indices: Tensor) -> Any:
        return self._bags(indices.reshape(-1, 1)).reshape(*indices.shape, self.constant("width"))


@computes(ops.rows_embedding_bag)
class RowsEmbeddingBag(Rows):
    """Integer indices [B, N], or [N] with offsets [B], and perhaps a weight for each -> float32 [B, E]."""

    inputs = ("indices", "offsets", "per_sample_weights")
    reals = inputs

    def run(self, indices: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Any:
        return self._bags(indices, offsets, per_sample_weights)
