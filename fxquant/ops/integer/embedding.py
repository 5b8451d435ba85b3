"""Embeddings of integers.

Either the rows of the table are codes of the output already, and are only moved; or each has a scale and a zero point
of its own, and the result is real:

    row(i)   = (codes[i] - zero_point[i]) * scale[i]
    y        = sum of row(i) * w   =   (sum of codes[i] * m) - (sum of zero_point[i] * m)          m = scale[i] * w

over the members of a bag in their order, from 0.0 on, a product rounded to float32 together with the sum that it is
added to, and each other operation on its own; a single row is a bag of one.
The codes have 8 bits, or 4: then a byte holds two, the first one in its lower half.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.op import op


@op(activations=(), at_run_time=("indices",))
def int8_embedding(indices: Tensor, rows: Tensor) -> Tensor:
    """indices int [...], rows uint8 [V, E] to uint8 [..., E]."""
    return F.embedding(indices, rows)


@op(activations=(), at_run_time=("indices",))
def rows_embedding(indices: Tensor, rows: Tensor, scale: Tensor, zero_point: Tensor, width: int) -> Tensor:
    """indices int [...], rows uint8 [V, E] or, of 4 bits, [V, E / 2] -> float32 [..., E].

    `width` is E; `scale` and `zero_point` are float32 [V].
    """
    bags = rows_embedding_bag(indices.reshape(-1, 1), rows, scale, zero_point, width)
    return bags.reshape(*indices.shape, width)


@op(activations=(), at_run_time=("indices", "offsets", "per_sample_weights"))
def rows_embedding_bag(
    indices: Tensor,
    rows: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    width: int,
    offsets: Tensor | None = None,
    mode: str = "sum",
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """indices int [B, N], or [N] with the offset of each of B bags -> float32 [B, E]; the table as of rows_embedding.

    `mode` is "sum" or "mean"; a bag without members gives zeros. Members that are `padding_idx` do not count.
    """
    index = indices.reshape(-1).long()
    multiplier = scale[index] if per_sample_weights is None else scale[index] * per_sample_weights.reshape(-1)
    codes, zero_points = unpacked(rows[index], width).float(), zero_point[index][:, None]
    kept = torch.ones(index.numel(), dtype=torch.bool) if padding_idx is None else index != padding_idx % len(rows)
    begin, end = _bounds(indices, offsets, include_last_offset)
    sums, shift, count = torch.zeros(len(begin), width), torch.zeros(len(begin), 1), torch.zeros(len(begin), 1)
    for step in range(int((end - begin).max()) if len(begin) else 0):
        bags = torch.nonzero(begin + step < end).reshape(-1)
        bags = bags[kept[begin[bags] + step]]
        members = begin[bags] + step
        for total, each in ((sums, codes), (shift, zero_points)):
            total[bags] = _multiply_add(each[members], multiplier[members, None], total[bags])
        count[bags] += 1
    values = sums - shift
    return torch.where(count > 0, values / count, values) if mode == "mean" else values


def packed(codes: Tensor) -> Tensor:
    """Codes of 4 bits, uint8 [V, E], two in a byte: uint8 [V, (E + 1) // 2]."""
    even, odd = codes[:, ::2], F.pad(codes, (0, codes.shape[1] % 2))[:, 1::2]
    return even | odd << 4


def unpacked(rows: Tensor, width: int) -> Tensor:
    """The codes, uint8 [..., width], of rows that hold one or two in a byte."""
    if rows.shape[-1] == width:
        return rows
    return torch.stack((rows & 15, rows >> 4), dim=-1).flatten(-2)[..., :width]


def _multiply_add(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a * b + c of float32, rounded once.

    In float64 the product is exact; so is the sum once it is rounded to odd, that is, as far as the second rounding can
    tell (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums", theorem 2).
    """
    a, c = a.double() * b.double(), c.double()
    total = a + c
    of_c = total - a
    lost = (a - (total - of_c)) + (c - of_c)
    bits = total.view(torch.int64)
    even = (lost != 0) & lost.isfinite() & (bits % 2 == 0)
    step = torch.where((lost > 0) == (total > 0), 1, -1)
    return (bits + even * step).view(torch.float64).float()


def _bounds(indices: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, Tensor]:
    """Where each bag begins and ends among the indices in a row."""
    if offsets is None:
        begin = torch.arange(indices.shape[0]) * indices.shape[1]
        return begin, begin + indices.shape[1]
    offsets = offsets.long()
    if include_last_offset:
        return offsets[:-1], offsets[1:]
    return offsets, torch.cat((offsets[1:], torch.tensor([indices.numel()])))
