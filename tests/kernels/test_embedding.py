"""fxquant::embedding_bag equals the plain-torch rows_embedding_bag, whatever the bags, the ISA and the threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.embedding import packed, rows_embedding_bag, unpacked

ROWS = 23


def table(width: int, bits: int) -> tuple[Tensor, Tensor, Tensor, int]:
    codes = torch.randint(0, 1 << bits, (ROWS, width), dtype=torch.uint8)
    rows = codes if bits == 8 else packed(codes)
    return rows, torch.rand(ROWS) + 0.01, torch.randn(ROWS) * 100, width


def both(indices: Tensor, made: Any, *options: Any) -> tuple[Tensor, Tensor]:
    return kernels.embedding_bag(indices, *for_kernel(made), *options), rows_embedding_bag(indices, *made, *options)


def for_kernel(made: Any) -> tuple[Tensor, Tensor, int]:
    rows, scale, zero_point, width = made
    return rows, torch.stack((scale, zero_point), 1), width


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 80),
    st.sampled_from([8, 4]),
    st.sampled_from([torch.int32, torch.int64]),
    st.sampled_from(["sum", "mean", "weighted"]),
    st.sampled_from([None, 0, 3, -1]),
    st.lists(st.integers(0, 9), max_size=6),
    st.sampled_from(["offsets", "last offset", "matrix"]),
)
def test_bags(
    width: int, bits: int, dtype: torch.dtype, mode: str, padding: int | None, sizes: list[int], form: str
) -> None:
    count = sum(sizes)
    indices: Tensor = torch.randint(ROWS, (count,)).to(dtype)
    ends = torch.tensor([0, *sizes]).cumsum(0)
    offsets = ends if form == "last offset" else ends[:-1]
    if form == "matrix":
        indices, offsets = torch.randint(ROWS, (len(sizes), 5)).to(dtype), None
    weights = torch.randn(indices.shape) if mode == "weighted" else None
    options = (offsets, "mean" if mode == "mean" else "sum", weights, form == "last offset", padding)
    y, expected = both(indices, table(width, bits), *options)
    assert torch.equal(y, expected)


def test_on_every_isa(isa: str, threads: int) -> None:
    for bits in (8, 4):
        for width in (1, 15, 16, 64, 131, 300):
            made = table(width, bits)
            indices = torch.randint(ROWS, (200, 7))
            y, expected = both(indices.t(), made, None, "mean", None, False, 2)
            assert torch.equal(y, expected)


def test_two_codes_in_a_byte() -> None:
    codes = torch.tensor([[1, 2, 15], [4, 0, 7]], dtype=torch.uint8)
    assert packed(codes).tolist() == [[0x21, 0x0F], [0x04, 0x07]]
    assert torch.equal(unpacked(packed(codes), 3), codes)


def test_what_does_not_fit_is_refused() -> None:
    made, ids = for_kernel(table(5, 8)), torch.tensor([1, 2, 3])
    for wrong in (ROWS, -1, 2**40):
        with pytest.raises(InputError, match=rf"of 23 rows takes indices in 0\.\.22, not {wrong}"):
            kernels.embedding_bag(torch.tensor([[0, wrong]]), *made, None, "sum", None, False, None)
    refusals: list[tuple[str, Tensor, tuple[Any, ...]]] = [
        ("bag 1 would be the indices 3 to 2 of 3", ids, (torch.tensor([0, 3, 2]), "sum", None, False, None)),
        ("bag 0 would be the indices 0 to 4 of 3", ids, (torch.tensor([0, 4]), "sum", None, True, None)),
        ("first bag is 1, not 0", ids, (torch.tensor([1]), "sum", None, False, None)),
        ("and no offsets", ids, (None, "sum", None, False, None)),
        ("and offsets of shape", ids[None], (torch.tensor([0]), "sum", None, False, None)),
        ("and offsets of shape", ids, (torch.tensor([], dtype=torch.long), "sum", None, True, None)),
        ("not torch.float32", ids.float()[None], (None, "sum", None, False, None)),
        ("not torch.float32", ids, (torch.zeros(1), "sum", None, False, None)),
        ("not their max", ids[None], (None, "max", None, False, None)),
        ("go with sums", ids[None], (None, "mean", torch.ones(1, 3), False, None)),
        ("one for each index", ids[None], (None, "sum", torch.ones(3), False, None)),
        ("padding_idx is 23", ids[None], (None, "sum", None, False, 23)),
    ]
    for message, indices, options in refusals:
        with pytest.raises(InputError, match=message):
            kernels.embedding_bag(indices, *made, *options)
    with pytest.raises(InputError, match="a table of 7 columns"):
        kernels.embedding_bag(ids[None], *made[:2], 7, None, "sum", None, False, None)


def test_fake_agrees() -> None:
    arguments = (torch.tensor([[1, 2]]), *for_kernel(table(5, 4)), None, "sum", None, False, None)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(kernels.embedding_bag, arguments, test_utils=checks)
