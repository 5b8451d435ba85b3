"""The kernel of dynamic products computes what its op does, bit for bit, on every instruction set and thread count."""

from __future__ import annotations

import math

import pytest
import torch

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.matmul import dynamic_matmul

SHAPES = [((5, 7), (7, 3)), ((2, 3, 33, 40), (2, 3, 40, 50)), ((4, 17, 65), (65, 30)), ((1, 64, 8), (6, 8, 100))]


@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_it_is_what_the_op_computes(first: tuple[int, ...], second: tuple[int, ...], threads: int, isa: str) -> None:
    a, b = torch.randn(first), torch.randn(second) * torch.logspace(-3, 3, second[-1])
    found = kernels.dynamic_matmul(a, b, 0.37)
    assert torch.equal(found, dynamic_matmul(a, b, 0.37))
    apart = b.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(kernels.dynamic_matmul(a, apart, 0.37), found)
    largest = 0.37 * a.abs().amax(-1, keepdim=True) * b.abs().amax(-2, keepdim=True) * a.shape[-1]
    assert ((found - 0.37 * a @ b).abs() <= largest / 127).all()


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_nan_stays_in_its_row_or_column(odd: float, isa: str) -> None:
    a, b = torch.randn(2, 5, 7), torch.randn(2, 7, 9)
    a[0, 1, 2] = b[1, 3, 4] = odd
    expected = torch.zeros(2, 5, 9, dtype=torch.bool)
    expected[0, 1] = expected[1, :, 4] = True
    assert torch.equal(kernels.dynamic_matmul(a, b, 1.0).isnan(), expected)
    assert torch.equal(dynamic_matmul(a, b, 1.0).isnan(), expected)


def test_nothing_to_sum_and_nothing_to_give() -> None:
    assert torch.equal(kernels.dynamic_matmul(torch.zeros(3, 0), torch.zeros(0, 4), 1.0), torch.zeros(3, 4))
    assert kernels.dynamic_matmul(torch.zeros(0, 3, 2), torch.zeros(0, 2, 4), 1.0).shape == (0, 3, 4)


def test_what_does_not_fit() -> None:
    x = torch.randn(4, 8)
    with pytest.raises(InputError, match="cannot be multiplied"):
        kernels.dynamic_matmul(x, x, 1.0)
    with pytest.raises(InputError, match="takes float32 matrices"):
        kernels.dynamic_matmul(x.double(), x.T, 1.0)
