"""fxquant::layer_norm and fxquant::group_norm equal the plain-torch integer ops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.norm import int8_group_norm, int8_layer_norm, int8_rms_norm
from fxquant.qparams import Requantize

OUTPUT = Requantize(120, 3, 250)
SIZES = st.sampled_from([1, 2, 3, 7, 16, 17, 33, 64, 65, 130])


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 5]), max_size=3), st.lists(SIZES, min_size=1, max_size=2), st.booleans())
def test_layer_norm(leading: list[int], last: list[int], is_transposed: bool) -> None:
    x = codes(*leading, *last)
    if is_transposed and leading:
        x = codes(*leading[1:], *last, leading[0]).movedim(-1, 0)
    weight, bias = torch.randn(last) * 30, torch.randn(last) * 30
    y = kernels.layer_norm(x, weight, bias, 0.02, 0, *OUTPUT)
    assert torch.equal(y, int8_layer_norm(x, tuple(last), weight, bias, 0.02, OUTPUT))
    y = kernels.layer_norm(x, weight, None, 0.02, 99, *OUTPUT)
    assert torch.equal(y, int8_rms_norm(x, tuple(last), weight, 0.02, 99, OUTPUT))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([0, 1, 3]),
    st.integers(1, 4),
    st.integers(1, 20),
    st.lists(st.sampled_from([1, 2, 5, 9]), max_size=3),
    st.booleans(),
)
def test_group_norm(batch: int, groups: int, width: int, positions: list[int], last: bool) -> None:
    channels = groups * width
    x = codes(batch, *positions, channels).movedim(-1, 1) if last else codes(batch, channels, *positions)
    weight, bias = torch.randn(channels) * 30, torch.randn(channels) * 30
    y = kernels.group_norm(x, groups, weight, bias, 0.02, *OUTPUT)
    assert torch.equal(y, int8_group_norm(x, groups, weight, bias, 0.02, OUTPUT))


def test_on_every_isa(isa: str, threads: int) -> None:
    x, weight, bias = codes(50, 131), torch.randn(131) * 30, torch.randn(131) * 30
    expected = int8_layer_norm(x, (131,), weight, bias, 0.02, OUTPUT)
    assert torch.equal(kernels.layer_norm(x, weight, bias, 0.02, 0, *OUTPUT), expected)
    images = codes(4, 36, 9, 7)
    expected = int8_group_norm(images, 3, weight[:36], bias[:36], 0.02, OUTPUT)
    assert torch.equal(kernels.group_norm(images, 3, weight[:36], bias[:36], 0.02, *OUTPUT), expected)


def test_results_are_rounded_once() -> None:
    x = codes(20, 96)
    real = (x.float() - 77) * 0.1
    weight, bias = torch.randn(96), torch.randn(96)
    exact = F.layer_norm(real, (96,), weight, bias, 1e-5)
    y = kernels.layer_norm(x, weight / 0.05, bias / 0.05, 1e-5 / 0.01, 0, 128, 0, 255)
    expected = (exact / 0.05 + 128).clamp(0, 255)
    assert (y - expected).abs().max() < 0.501


def test_refusals() -> None:
    with pytest.raises(InputError, match="ends so"):
        kernels.layer_norm(codes(3, 4), torch.ones(5), None, 1.0, 0, *OUTPUT)
    with pytest.raises(InputError, match="of 3 groups"):
        kernels.group_norm(codes(3, 4, 2), 3, torch.ones(4), torch.ones(4), 1.0, *OUTPUT)


def test_fake_agrees() -> None:
    checks = ("test_schema", "test_faketensor")
    ones = torch.ones(4)
    torch.library.opcheck(kernels.layer_norm, (codes(3, 4), ones, ones, 0.1, 0, 3, 0, 255), test_utils=checks)
    torch.library.opcheck(kernels.group_norm, (codes(3, 4, 5), 2, ones, ones, 0.1, 3, 0, 255), test_utils=checks)
