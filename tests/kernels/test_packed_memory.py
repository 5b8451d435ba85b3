"""Memory for packed weights: aligned, apart, and given back."""

from __future__ import annotations

import io
import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from fxquant.kernels.packed_memory import packed_memory


def resident_pages() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1])


@given(st.lists(st.integers(1, 300_000) | st.integers(16 << 20, 20 << 20), min_size=1, max_size=8))
def test_pieces_are_aligned_and_apart(sizes: list[int]) -> None:
    pieces = [packed_memory(size) for size in sizes]
    spans = sorted((piece.data_ptr(), piece.data_ptr() + piece.numel()) for piece in pieces)
    assert [piece.numel() for piece in pieces] == sizes
    assert all(begin % 64 == 0 for begin, _ in spans)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_a_piece_is_saved_without_its_neighbours() -> None:
    file = io.BytesIO()
    torch.save(packed_memory(1000).fill_(7), file)
    assert file.tell() < 5000
    file.seek(0)
    assert torch.equal(torch.load(file), torch.full((1000,), 7, dtype=torch.uint8))


def test_memory_is_given_back_with_the_last_piece() -> None:
    size, page = 64 << 20, 4096
    before = resident_pages()
    piece = packed_memory(size).fill_(1)
    last = piece[-1:]
    del piece
    assert resident_pages() - before > size // page // 2
    del last
    packed_memory(17 << 20)  # the mapping in use is never given back
    assert resident_pages() - before < size // page // 2
