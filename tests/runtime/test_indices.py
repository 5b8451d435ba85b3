"""index_select and gather within a region: indices of any kind, in range or not, and examples that they keep apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from regions import assert_planned_right, kernels_of, plan_of, quantized, region_of
from torch import Tensor, nn

from fxquant.errors import InputError
from fxquant.runtime import batches

X = torch.randn(4, 6, 5, 3, generator=torch.Generator().manual_seed(0))


class Indexed(nn.Module):
    """`code` of a convolution's result and an index, before another convolution."""

    def __init__(self, code: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code
        self.a, self.b = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor, index: Tensor) -> Any:
        return self.b(self.code(self.a(x), index))


Code = Callable[[Tensor, Tensor], Tensor]


def selects(dim: int) -> Code:
    return lambda y, index: torch.index_select(y, dim, index)


def gathers(dim: int) -> Code:
    return lambda y, index: y.gather(dim, index)


def places(shape: tuple[int, ...], size: int) -> Tensor:
    return torch.randint(0, size, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("last", [False, True], ids=["rows", "channels last"])
@pytest.mark.parametrize(("dim", "number"), [(0, 3), (0, 7), (2, 2), (3, 9), (-1, 1)])
def test_index_select(dim: int, number: int, last: bool) -> None:
    x, index = (X.to(memory_format=torch.channels_last) if last else X), places((number,), X.shape[dim])
    gm = quantized(Indexed(selects(dim)), x, index)
    assert "gather" in kernels_of(plan_of(gm, x, index))
    other = x[:2] if dim != 0 else x
    assert_planned_right(gm, (x, index), (other, index.flip(0)), (other, index.repeat(2)[::2].int()))


@pytest.mark.parametrize("last", [False, True], ids=["rows", "channels last"])
@pytest.mark.parametrize(
    ("dim", "shape"), [(1, (4, 6, 5, 3)), (2, (4, 6, 2, 3)), (3, (2, 6, 5, 8)), (0, (6, 6, 4, 3)), (-2, (1, 6, 1, 1))]
)
def test_gather(dim: int, shape: tuple[int, ...], last: bool) -> None:
    x, index = (X.to(memory_format=torch.channels_last) if last else X), places(shape, X.shape[dim])
    gm = quantized(Indexed(gathers(dim)), x, index)
    assert "gather" in kernels_of(plan_of(gm, x, index))
    assert_planned_right(gm, (x, index), (x, index[:1]), (x, index[:, :, :1, :1].expand(shape)))


def test_a_constant_index_leaves_no_float_op_behind() -> None:
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
            self.register_buffer("order", torch.tensor([3, 3, 0, 7, 1, 2, 6, 5]))

        def forward(self, x: Tensor) -> Any:
            return self.b(self.a(x).index_select(-1, self.order))

    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    gm = quantized(Shuffled(), x)
    assert "gather" in kernels_of(plan_of(gm, x))
    assert_planned_right(gm, x)


@pytest.mark.parametrize(("code", "shape"), [(selects(1), (6,)), (gathers(1), X.shape)], ids=["select", "gather"])
def test_an_index_out_of_range_is_an_error_that_names_the_place(code: Code, shape: tuple[int, ...]) -> None:
    right = places(shape, 6)
    gm = quantized(Indexed(code), X, right)
    expected, before = gm(X, right), torch.get_num_threads()
    for wrong, threads in ((-1, 1), (6, 2), (2**40, 1)):
        index = right.clone()
        index.view(-1)[3] = wrong
        torch.set_num_threads(threads)
        with pytest.raises(InputError, match="test_indices"):
            gm(X, index)
        assert torch.equal(gm(X, right), expected)
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("code", "shape", "other"),
    [(selects(1), (6,), (2, 3)), (gathers(1), X.shape, (4, 6, 6, 3)), (gathers(1), X.shape, (4, 6))],
    ids=["a matrix", "too large", "too few dimensions"],
)
def test_an_index_that_does_not_fit(code: Code, shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    gm = quantized(Indexed(code), X, places(shape, 6))
    with pytest.raises((InputError, RuntimeError)):
        gm(X, places(other, 3))


# An index for each example keeps them apart; one for all does not, though it may have as many elements.
@pytest.mark.parametrize(
    ("code", "index", "parts"),
    [
        (gathers(1), places((4, 6, 5, 3), 6), 4),
        (gathers(0), places((4, 6, 5, 3), 4), 1),
        (selects(2), places((4,), 5), 1),
        (selects(2), places((3,), 5), 1),
    ],
)
def test_batches_in_parts(code: Code, index: Tensor, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CACHES", 1e-6)
    gm = quantized(Indexed(code), X, index)
    assert region_of(gm).plan(X, index).parts == parts
    assert_planned_right(gm, (X, index))
