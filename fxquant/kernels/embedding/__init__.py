"""embedding_bag: sums and means of rows of a table whose rows have a scale and a zero point each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op
from fxquant.target import active_isa

INDICES = (torch.int64, torch.int32)
MODES = ("sum", "mean")


def _bags(
    indices: Tensor,
    rows: Tensor,
    affine: Tensor,
    width: int,
    offsets: Tensor | None,
    mode: str,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> Tensor:
    """Memory for the result. Raises InputError for arguments that do not fit."""
    _check_table(rows, affine, width)
    _check_indices(indices)
    if offsets is not None:
        _check_indices(offsets)
    if mode not in MODES:
        raise InputError(f"an embedding_bag gives the sum or the mean of its rows, not their {mode}")
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != indices.shape):
        shapes = f"{list(per_sample_weights.shape)} for indices of {list(indices.shape)}, mode {mode}"
        raise InputError(f"per_sample_weights are one for each index, and go with sums; got {shapes}")
    if padding_idx is not None and not -rows.shape[0] <= padding_idx < rows.shape[0]:
        raise InputError(f"padding_idx is {padding_idx}, in a table of {rows.shape[0]} rows")
    return torch.empty(_count(indices, offsets, include_last_offset), width, device=indices.device)


def _check_indices(given: Tensor) -> None:
    if given.dtype not in INDICES:
        raise InputError(f"an embedding takes indices and offsets in int64 or int32, not {given.dtype}")


def _check_table(rows: Tensor, affine: Tensor, width: int) -> None:
    fits = rows.dim() == 2 and rows.dtype is torch.uint8 and rows.shape[1] in (width, (width + 1) // 2)
    if not (fits and affine.dtype is torch.float32 and affine.shape == (rows.shape[0], 2) and width > 0):
        raise InputError(
            f"a table of {width} columns is of uint8 [rows, bytes], its scales and zero points of float32 [rows]; "
            f"got {rows.dtype} {list(rows.shape)}, and for both {affine.dtype} {list(affine.shape)}"
        )


def _count(indices: Tensor, offsets: Tensor | None, include_last_offset: bool) -> int:
    """How many bags there are."""
    if indices.dim() == 2 and offsets is None:
        return indices.shape[0]
    if indices.dim() != 1 or offsets is None or offsets.dim() != 1 or offsets.numel() < int(include_last_offset):
        given = "no offsets" if offsets is None else f"offsets of shape {list(offsets.shape)}"
        raise InputError(
            "bags are the rows of a matrix of indices, or parts of a vector that begin at the offsets; got indices of "
            f"shape {list(indices.shape)} and {given}"
        )
    return offsets.numel() - int(include_last_offset)


def embedding_bag_now(
    indices: Tensor,
    rows: Tensor,
    affine: Tensor,
    width: int,
    offsets: Tensor | None,
    mode: str,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> Tensor:
    """As `embedding_bag`, for plain tensors on the CPU that nothing watches: without torch's dispatcher in between."""
    y = _bags(indices, rows, affine, width, offsets, mode, per_sample_weights, include_last_offset, padding_idx)
    by_offsets = offsets is not None
    index = indices.contiguous()
    starts = index if offsets is None else offsets.contiguous()
    starts = starts if starts.dtype is index.dtype else starts.to(index.dtype)
    weights = None if per_sample_weights is None else per_sample_weights.float().contiguous()
    rows, affine = rows.contiguous(), affine.contiguous()
    kernel = _kernels.embedding_bag_i32 if index.dtype is torch.int32 else _kernels.embedding_bag_i64
    wrong = kernel(
        torch.get_num_threads(),
        y.data_ptr(),
        rows.data_ptr(),
        affine.data_ptr(),
        rows.shape[0],
        width,
        rows.shape[1] < width,
        index.data_ptr(),
        index.numel(),
        starts.data_ptr() if by_offsets else 0,
        y.shape[0],
        0 if by_offsets else index.shape[1],
        include_last_offset,
        0 if weights is None else weights.data_ptr(),
        -1 if padding_idx is None else padding_idx % rows.shape[0],
        mode == "mean",
        active_isa(),
    )
    if wrong:
        raise InputError(wrong)
    return y


@torch_op(
    "embedding_bag(Tensor indices, Tensor rows, Tensor affine, int width, Tensor? offsets, str mode, "
    "Tensor? per_sample_weights, bool include_last_offset, int? padding_idx) -> Tensor",
    _bags,
)
def embedding_bag(*arguments: Any) -> Tensor:
    """As of ops.rows_embedding_bag, with scale and zero point of each row side by side in `affine`, float32 [V, 2].

    Raises InputError for arguments, indices and offsets that do not fit.
    """
    return embedding_bag_now(*arguments)
