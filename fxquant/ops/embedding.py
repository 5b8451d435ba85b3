"""embedding, embedding_bag: rows of a table, each by its index; of a bag their sum, mean or maximum.

The numbers of the table are known beforehand. Where the output is quantized they are rounded to its codes once and for
all, and an embedding only moves bytes. Where it is real, the rows may be kept in integers of 8 or 4 bits, each with a
scale and a zero point of its own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.op import op, spelling


@op(activations=(), kernel=True, rows="weight", at_run_time=("indices",))
def embedding(indices: Tensor, weight: Tensor) -> Tensor:
    """indices int [...], weight [V, E] -> [..., E]."""
    return F.embedding(indices, weight)


@op(activations=(), rows="weight", at_run_time=("indices", "offsets", "per_sample_weights"))
def embedding_bag(
    indices: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    mode: str = "mean",
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """indices int [B, N], or [N] with the offset of each of B bags; weight [V, E] -> [B, E]."""
    return F.embedding_bag(
        *(indices, weight, offsets, None, 2.0, False, mode, False, per_sample_weights),
        *(include_last_offset, padding_idx),
    )


@spelling(F.embedding)
def _embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if max_norm is not None:
        raise TypeError("it rescales its own weights, by max_norm")
    return embedding(input, weight)


@spelling(nn.Embedding)
def _embedding_module(m: Any, input: Any) -> Any:
    return _embedding(input, m.weight, m.padding_idx, m.max_norm)


@spelling(F.embedding_bag)
def _embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    if max_norm is not None:
        raise TypeError("it rescales its own weights, by max_norm")
    return embedding_bag(input, weight, offsets, mode, per_sample_weights, include_last_offset, padding_idx)


@spelling(nn.EmbeddingBag)
def _embedding_bag_module(m: Any, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
    return _embedding_bag(
        *(input, m.weight, offsets, m.max_norm, m.norm_type, False, m.mode, False, per_sample_weights),
        *(m.include_last_offset, m.padding_idx),
    )
