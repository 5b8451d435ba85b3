"""The arithmetic that everything else rests on, number by number."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fxquant.qparams import (
    CODES,
    QParams,
    Requantize,
    Residual,
    bounds,
    code,
    dequantize,
    float32,
    integer_parameters,
    quantize,
    requantize,
    residual_term,
    saturate,
)

Q = QParams(0.5, 10)
NAN, INF = float("nan"), float("inf")
scales = st.floats(2**-100, 2**100, width=32)
reals = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50).map(torch.tensor)


def test_the_example_of_the_notes() -> None:
    q = QParams(0.1, 10, -128, 127, torch.int8)
    integers = quantize(torch.tensor([-1.0, 0.0, 1.0, 20.0]), q)
    assert integers.dtype is torch.int8
    assert integers.tolist() == [0, 10, 20, 127]
    assert dequantize(integers, q).tolist() == pytest.approx([-1, 0, 1, 11.7])


def test_ties_go_to_the_even_integer() -> None:
    x = torch.tensor([-1.25, -0.75, -0.25, 0.25, 0.75, 1.25])
    assert quantize(x, Q).tolist() == [8, 8, 10, 10, 12, 12]


def test_what_is_out_of_range_saturates() -> None:
    x = torch.tensor([-INF, -1e38, 1e38, INF, NAN])
    assert quantize(x, Q).tolist() == [0, 0, 255, 255, 0]
    assert quantize(x, Q._replace(quant_min=3, quant_max=200)).tolist() == [3, 3, 200, 200, 3]


@given(scales, st.integers(0, 255))
def test_zero_is_exactly_the_zero_point(scale: float, zero_point: int) -> None:
    q = QParams(scale, zero_point)
    assert quantize(torch.tensor([0.0, -0.0]), q).tolist() == [zero_point, zero_point]
    assert dequantize(torch.tensor([zero_point], dtype=torch.uint8), q).tolist() == [0.0]


@given(scales, st.integers(0, 255))
def test_every_code_survives_the_way_to_a_real_and_back(scale: float, zero_point: int) -> None:
    q = QParams(scale, zero_point)
    assert torch.equal(quantize(dequantize(CODES, q), q), CODES)


@given(reals, st.floats(2**-10, 2**10, width=32), st.integers(0, 255))
def test_rounding_errs_by_half_a_step_at_most(x: Tensor, scale: float, zero_point: int) -> None:
    q = QParams(scale, zero_point)
    inside = x.double().clamp((0 - zero_point) * scale, (255 - zero_point) * scale)
    error = (dequantize(quantize(x, q), q).double() - inside).abs()
    assert bool((error <= 0.5001 * scale).all())


def test_a_scale_for_each_channel() -> None:
    q = QParams(torch.tensor([1.0, 0.5]), torch.tensor([0, 4], dtype=torch.int32), axis=1)
    x = torch.tensor([[[3.0, 4.0], [3.0, 4.0]]])
    assert quantize(x, q).tolist() == [[[3, 4], [10, 12]]]
    assert torch.equal(dequantize(quantize(x, q), q), x)


def test_requantize_rounds_saturates_and_adds_the_residual() -> None:
    acc = torch.tensor([0, 1, 3, -1000, 1000, 2**31 - 1, -(2**31)], dtype=torch.int32)
    assert requantize(acc, 0.5, Requantize(10)).tolist() == [10, 10, 12, 0, 255, 255, 0]
    assert requantize(acc, 1e30, Requantize(10, 20, 99)).tolist() == [20, 99, 99, 20, 99, 99, 20]
    term = residual_term(torch.tensor([13, 7, 10], dtype=torch.uint8), Residual(10, 0.5))
    assert term.tolist() == [1.5, -1.5, 0.0]
    assert requantize(acc[:3], 0.5, Requantize(10), term).tolist() == [12, 9, 12]


def test_requantize_multiplies_a_channel_by_its_own() -> None:
    acc = torch.tensor([[100, 100]], dtype=torch.int32)
    y = requantize(acc, torch.tensor([0.1, 0.2]), Requantize(5))
    assert (y.dtype, y.tolist()) == (torch.uint8, [[15, 25]])


@given(reals, st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.integers(0, 255))
def test_saturated_bounds_stand_for_a_clamp(x: Tensor, low: float, high: float, zero_point: int) -> None:
    q = QParams(0.37, zero_point)
    for bound in ((low, high), (low, None), (None, high)):
        assert torch.equal(quantize(x, saturate(q, *bound)), quantize(x.clamp(*bound), q))


@pytest.mark.parametrize(
    ("low", "high", "quant_min", "quant_max"),
    [(0.0, None, 10, 255), (0.0, 6.0, 10, 22), (None, 6.0, 0, 22), (1.0, -1.0, 8, 8), (-99.0, 999.0, 0, 255)],
)
def test_saturate(low: float | None, high: float | None, quant_min: int, quant_max: int) -> None:
    assert saturate(Q, low, high) == Q._replace(quant_min=quant_min, quant_max=quant_max)


def test_saturating_twice_keeps_the_narrower_bounds() -> None:
    assert bounds(saturate(saturate(Q, 0.0, 6.0), -1.0, 9.0)) == Requantize(10, 10, 22)


def test_the_code_of_one_number() -> None:
    assert [code(value, Q) for value in (0.0, 1.0, -100.0, 100.0, 1e30)] == [10, 12, 0, 210, 255]


def test_float32_is_what_the_kernels_hold() -> None:
    assert float32(0.1) == 0.10000000149011612
    assert float32(0.5) == 0.5


def test_bias_and_multiplier_of_an_integer_op() -> None:
    weight = torch.tensor([[1, -2], [127, -128]], dtype=torch.int8)
    found = integer_parameters(weight, torch.tensor([0.01, 0.02]), torch.tensor([0.5, -0.3]), 0.1, 0.4)
    assert torch.equal(found.weight, weight)
    assert found.bias.tolist() == [500, -150]
    assert found.multiplier.tolist() == pytest.approx([0.0025, 0.005])
    assert [t.dtype for t in found] == [torch.int8, torch.int32, torch.float32]


def test_without_a_bias_it_is_zero_and_one_scale_serves_all_channels() -> None:
    found = integer_parameters(torch.ones(3, 2, dtype=torch.int8), 0.01, None, 0.1, 0.4)
    assert found.bias.tolist() == [0, 0, 0]
    assert found.multiplier.tolist() == pytest.approx([0.0025] * 3)


def test_a_bias_too_large_for_int32_shrinks_its_channel() -> None:
    weight = torch.tensor([[100, -100], [100, -100]], dtype=torch.int8)
    bias = torch.tensor([1000.0, 1.0])
    scale = 1e-6 / 2**30
    found = integer_parameters(weight, torch.tensor([scale, 0.01]), bias, 1e-3, 1.0)
    assert found.weight.tolist() == [[0, 0], [100, -100]]
    assert found.bias.tolist() == [2**30, 100_000]
    torch.testing.assert_close(found.bias * found.multiplier, bias)


def test_a_bias_just_too_large_scales_the_weights_with_it() -> None:
    weight = torch.tensor([[100, -100]], dtype=torch.int8)
    found = integer_parameters(weight, 1.0, torch.tensor([2.0**31]), 1.0, 1.0)
    assert (found.weight.tolist(), found.bias.tolist(), found.multiplier.tolist()) == ([[50, -50]], [2**30], [2.0])


@settings(deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_weights_that_are_all_zero_leave_the_bias(bias: float, x_scale: float, y_scale: float) -> None:
    eps = torch.finfo(torch.float32).eps
    found = integer_parameters(torch.zeros(1, 9, dtype=torch.int8), eps, torch.tensor([bias]), x_scale, y_scale)
    assert found.weight.tolist() == [[0] * 9]
    step = x_scale * eps
    assert float(found.bias * found.multiplier.double()) == pytest.approx(bias / y_scale, rel=1e-6, abs=step / y_scale)


def test_a_sum_too_large_for_int32_together_with_its_bias_shrinks_its_channel() -> None:
    weight = torch.full((2, 60_000), 127, dtype=torch.int8)
    found = integer_parameters(weight, 0.01, torch.tensor([1e5, 0.0]), 0.01, 1.0)
    reach = found.bias + 255 * found.weight.to(torch.int64).sum(1)
    assert 2**31 - 2**25 < int(reach[0]) < 2**31
    assert int(reach[1]) == 255 * 127 * 60_000
    torch.testing.assert_close(found.bias * found.multiplier, torch.tensor([1e5, 0.0]), rtol=1e-6, atol=0)
