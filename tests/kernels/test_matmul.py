"""fxquant::matmul and fxquant::attention equal the plain-torch integer ops, whatever the layouts, ISA and threads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.attention import dither, int8_attention
from fxquant.ops.integer.exponential import EXPONENTIAL, LOG2_E, power_of_2
from fxquant.ops.integer.matmul import int8_matmul
from fxquant.qparams import Requantize

SIZES = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 13, 16, 17, 31, 33, 64, 65])
LAYOUTS = st.sampled_from(["dense", "transposed", "strided", "heads"])


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def laid_out(layout: str, *shape: int) -> Tensor:
    """Random codes of `shape`, in memory as `layout` says."""
    *leading, rows, columns = shape
    if layout == "transposed":
        return codes(*leading, columns, rows).mT
    if layout == "strided":
        return codes(*leading, rows, 2 * columns + 1)[..., 1::2][..., :columns]
    if layout == "heads" and leading:
        return codes(*leading[:-1], rows, leading[-1], columns).transpose(-3, -2)
    return codes(*shape)


@st.composite
def products(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    leading = draw(
        st.sampled_from([((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 1), (3,)), ((), (2, 2)), ((0,), (1,))])
    )
    return laid_out(draw(LAYOUTS), *leading[0], m, k), laid_out(draw(LAYOUTS), *leading[1], k, n)


@settings(max_examples=30, deadline=None)
@given(products(), st.integers(0, 255), st.integers(0, 255))
def test_matmul(operands: tuple[Tensor, Tensor], a_zero_point: int, b_zero_point: int) -> None:
    a, b = operands
    output = Requantize(100, 3, 250)
    y = kernels.matmul(a, b, 3e-4, a_zero_point, b_zero_point, *output)
    assert torch.equal(y, int8_matmul(a, b, 3e-4, a_zero_point, b_zero_point, output))
    assert y.is_contiguous()


@pytest.mark.parametrize("depth", [7, 64])
def test_matmul_on_every_isa(isa: str, threads: int, depth: int) -> None:
    a, b = codes(3, 70, depth), codes(depth, 45)
    for output in (Requantize(0), Requantize(128, 5, 200)):
        assert torch.equal(kernels.matmul(a, b, 7e-4, 17, 201, *output), int8_matmul(a, b, 7e-4, 17, 201, output))


@st.composite
def heads(draw: st.DrawFn) -> tuple[Tensor, ...]:
    length, keys, depth, width = draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)
    leading = draw(st.sampled_from([(), (3,), (2, 3), (1, 1), (0,)]))
    return tuple(laid_out(draw(LAYOUTS), *leading, *size) for size in ((length, depth), (keys, depth), (keys, width)))


ATTENTION = (4e-4, 100, 120, 1.3, 140)


@settings(max_examples=30, deadline=None)
@given(heads(), st.booleans(), st.sampled_from(["none", "floats", "bools", "row", "head"]))
def test_attention(operands: tuple[Tensor, ...], causal: bool, kind: str) -> None:
    query, key, value = operands
    shape = (*query.shape[:-1], key.shape[-2])
    masks = {
        "none": None,
        "floats": torch.randn(shape).masked_fill(torch.rand(shape) < 0.3, -math.inf),
        "bools": torch.rand(shape) < 0.7,
        "row": (torch.rand(shape[-1:]) < 0.5) * torch.finfo(torch.float32).min,
        "head": torch.rand(shape[-2:]).mT.contiguous().mT,
    }
    output = Requantize(128, 2, 253)
    y = kernels.attention(query, key, value, masks[kind], *ATTENTION, *output, causal)
    assert torch.equal(y, int8_attention(query, key, value, *ATTENTION, output, causal, masks[kind]))


def test_attention_on_every_isa(isa: str, threads: int) -> None:
    query, key, value = (codes(2, 61, 3, 36).transpose(1, 2) for _ in range(3))
    mask = torch.randn(2, 1, 1, 61)
    y = kernels.attention(query, key, value, mask, *ATTENTION, 128, 0, 255, False)
    assert torch.equal(y, int8_attention(query, key, value, *ATTENTION, Requantize(128), False, mask))
    assert y.transpose(1, 2).is_contiguous()  # as the projection that follows reads it


def test_attention_is_close_to_float() -> None:
    """The only roundings are those of probabilities, relative to the largest, and of the result."""
    query, key, value = codes(1, 4, 50, 32), codes(1, 4, 70, 32), codes(1, 4, 70, 32)
    real = [(x.float() - z) * s for x, s, z in ((query, 0.02, 100), (key, 0.03, 120), (value, 0.01, 140))]
    exact = F.scaled_dot_product_attention(*real, scale=0.2)
    multiplier = 0.02 * 0.03 * 0.2 * LOG2_E
    y = kernels.attention(query, key, value, None, multiplier, 100, 120, 0.01 / 0.012, 140, 128, 0, 255, False)
    steps = (y.float() - 128) - exact / 0.012
    assert steps.abs().max() < 3
    assert steps.square().mean().sqrt() < 0.5


@pytest.mark.parametrize("keys", [300, 2000])
def test_a_long_tail_of_small_probabilities_keeps_its_weight(keys: int) -> None:
    """Rounded to the nearest, each of the others would be 0, and the result that of the one key: 28."""
    query, key = torch.full((1, 1), 200, dtype=torch.uint8), torch.full((keys, 1), 100, dtype=torch.uint8)
    key[keys // 2] = 200
    value = torch.full((keys, 1), 228, dtype=torch.uint8)
    value[keys // 2] = 28
    tail = 0.3 / 255  # of the largest probability, each of the others
    multiplier = -math.log2(tail) / (200 * 100)
    y = kernels.attention(query, key, value, None, multiplier, 0, 100, 1.0, 128, 128, 0, 255, False)
    total = tail * (keys - 1)
    assert abs(int(y) - 128 - 100 * (total - 1) / (total + 1)) <= 1.5


def test_dither_fills_a_step_evenly_and_makes_no_key_of_one_that_is_masked() -> None:
    assert torch.equal(dither(1 << 16).bincount(), torch.full((256,), 256))
    query, key, value = codes(1000, 4), codes(1000, 4), codes(1000, 4)
    only_itself = torch.eye(1000, dtype=torch.bool)
    y = kernels.attention(query, key, value, only_itself, 1e-3, 100, 120, 1.0, 128, 128, 0, 255, False)
    assert torch.equal(y, value)


def test_a_row_without_keys_is_zero_and_one_of_lowest_floats_is_not() -> None:
    query, key, value = codes(5, 8), codes(6, 8), codes(6, 4)
    for lowest, alike in ((-math.inf, True), (torch.finfo(torch.float32).min, False)):
        y = kernels.attention(query, key, value, torch.full((5, 6), lowest), *ATTENTION, 77, 0, 255, False)
        assert bool((y == 77).all()) == alike


def test_power_of_2() -> None:
    t = -torch.linspace(0, 40, 400_001)
    exact = torch.exp2(t.double())
    assert ((power_of_2(t, EXPONENTIAL) - exact) / exact).abs().max() < 1.1e-4
    assert power_of_2(torch.tensor([0.0, -math.nan, -math.inf]), EXPONENTIAL).tolist() == [1.0, 2.0**-60, 2.0**-60]


def test_refusals() -> None:
    with pytest.raises(InputError, match="cannot be multiplied"):
        kernels.matmul(codes(3, 4), codes(5, 6), 1.0, 0, 0, 0, 0, 255)
    with pytest.raises(InputError, match="do not broadcast"):
        kernels.matmul(codes(2, 3, 4), codes(3, 4, 6), 1.0, 0, 0, 0, 0, 255)
    with pytest.raises(InputError, match="uint8 matrices"):
        kernels.matmul(codes(3, 4).float(), codes(4, 6), 1.0, 0, 0, 0, 0, 255)
    with pytest.raises(InputError, match="do not fit together"):
        kernels.attention(codes(3, 4), codes(5, 6), codes(5, 6), None, *ATTENTION, 0, 0, 255, False)
    with pytest.raises(InputError, match="does not broadcast"):
        kernels.attention(codes(3, 4), codes(5, 4), codes(5, 6), torch.zeros(2, 5), *ATTENTION, 0, 0, 255, False)
    with pytest.raises(InputError, match="bool or of floats"):
        kernels.attention(codes(3, 4), codes(5, 4), codes(5, 6), codes(3, 5), *ATTENTION, 0, 0, 255, False)


def test_fake_agrees() -> None:
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(kernels.matmul, (codes(3, 4, 5), codes(5, 6), 1e-3, 1, 2, 3, 0, 255), test_utils=checks)
    qkv = (codes(2, 3, 4, 5), codes(2, 3, 6, 5), codes(2, 3, 6, 7))
    torch.library.opcheck(kernels.attention, (*qkv, None, *ATTENTION, 3, 0, 255, False), test_utils=checks)
