"""fxquant::grouped_linear equals the plain-torch int8_linear_grouped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.linear import int8_linear_grouped
from fxquant.qparams import Requantize, float32

OUTPUT = Requantize(120, 3, 250)


def both(x: Tensor, outputs: int, groups: int, zero_point: int = 77) -> tuple[Tensor, Tensor]:
    weight = torch.randint(-128, 128, (outputs, x.shape[-1]), dtype=torch.int8)
    scale, shift = torch.rand(outputs, groups) * 1e-2, torch.randn(outputs) * 20
    multiplier = float32(0.03)
    y = kernels.grouped_linear(x, kernels.pack_grouped(weight, scale), shift, multiplier, zero_point, *OUTPUT)
    return y, int8_linear_grouped(x, weight, scale, shift, multiplier, zero_point, OUTPUT)


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 5, 7]), max_size=2),
    st.integers(1, 6),
    st.sampled_from([1, 2, 3, 4, 7, 32, 64]),
    st.integers(1, 70),
    st.sampled_from([0, 77, 255]),
)
def test_equals_the_reference(leading: list[int], groups: int, size: int, outputs: int, zero_point: int) -> None:
    y, expected = both(codes(*leading, groups * size), outputs, groups, zero_point)
    assert torch.equal(y, expected)


def test_on_every_isa(isa: str, threads: int) -> None:
    for rows in (1, 4, 13):
        y, expected = both(codes(rows, 384), 131, 12)
        assert torch.equal(y, expected)


def test_refusals() -> None:
    weight, scale = torch.zeros(3, 8, dtype=torch.int8), torch.ones(3, 2)
    packed = kernels.pack_grouped(weight, scale)
    wrong: list[tuple[Any, Any, str]] = [
        (weight.float(), scale, "weights of groups are int8"),
        (weight, scale[:2], "weights of groups are int8"),
        (weight, torch.ones(3, 3), "8 inputs cannot be divided into 3 groups"),
    ]
    for each, scales, message in wrong:
        with pytest.raises(InputError, match=message):
            kernels.pack_grouped(each, scales)
    for x, message in ((codes(2, 7), "another in_features"), (torch.zeros(2, 8), "takes a uint8 tensor")):
        with pytest.raises(InputError, match=message):
            kernels.grouped_linear(x, packed, torch.zeros(3), 1.0, 0, *OUTPUT)
    with pytest.raises(InputError, match="no packed weights of groups"):
        kernels.grouped_linear(codes(2, 8), packed[64:].clone(), torch.zeros(3), 1.0, 0, *OUTPUT)


def test_fake_agrees() -> None:
    packed = kernels.pack_grouped(torch.ones(3, 8, dtype=torch.int8), torch.ones(3, 2))
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        kernels.grouped_linear, (codes(2, 8), packed, torch.ones(3), 0.1, 3, *OUTPUT), test_utils=checks
    )
