"""fxquant::softmax and fxquant::log_softmax equal the plain-torch integer ops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.softmax import int8_log_softmax, int8_softmax
from fxquant.qparams import Requantize

OUTPUT = Requantize(0)
SIZES = st.sampled_from([0, 1, 2, 3, 7, 16, 17, 33, 100])
SHAPES = st.lists(SIZES, min_size=1, max_size=4).map(tuple).filter(lambda shape: math.prod(shape) <= 100_000)


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.data())
def test_any_shape_and_dimension(shape: tuple[int, ...], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = codes(*reversed(shape)).permute(*reversed(range(len(shape)))) if data.draw(st.booleans()) else codes(*shape)
    mask = data.draw(st.sampled_from([None, torch.randn(shape), torch.rand(shape[-1:]) < 0.6]))
    y = kernels.softmax(x, mask, dim, 0.03, 120, 256.0, *OUTPUT)
    assert torch.equal(y, int8_softmax(x, dim, 0.03, 120, 256.0, OUTPUT, mask))
    y = kernels.log_softmax(x, dim, 0.03, 120, 20.0, 255, 0, 255)
    assert torch.equal(y, int8_log_softmax(x, dim, 0.03, 120, 20.0, Requantize(255)))


def test_on_every_isa(isa: str, threads: int) -> None:
    x, mask = codes(40, 131), torch.randn(131).masked_fill(torch.rand(131) < 0.2, -math.inf)
    y = kernels.softmax(x, mask, -1, 0.03, 120, 256.0, *OUTPUT)
    assert torch.equal(y, int8_softmax(x, -1, 0.03, 120, 256.0, OUTPUT, mask))
    y = kernels.log_softmax(x, 0, 0.03, 120, 20.0, 255, 0, 255)
    assert torch.equal(y, int8_log_softmax(x, 0, 0.03, 120, 20.0, Requantize(255)))


def test_results_are_within_a_step_of_float() -> None:
    x = codes(50, 77)
    real = (x.float() - 120) * 0.05
    y = kernels.softmax(x, None, 1, 0.05, 120, 256.0, *OUTPUT)
    assert (y - torch.softmax(real, 1).mul(256).clamp(max=255)).abs().max() <= 0.55
    y = kernels.log_softmax(x, 1, 0.05, 120, 10.0, 255, 0, 255)
    assert (y.float() - 255 - torch.log_softmax(real, 1).mul(10).clamp(min=-255)).abs().max() <= 0.55


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"not torch\.float32"):
        kernels.softmax(torch.rand(3), None, 0, 1.0, 0, 256.0, *OUTPUT)
    with pytest.raises(InputError, match="a dimension 2"):
        kernels.log_softmax(codes(3, 4), 2, 1.0, 0, 256.0, *OUTPUT)


def test_fake_agrees() -> None:
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(kernels.softmax, (codes(3, 4), None, 1, 0.1, 3, 256.0, 0, 0, 255), test_utils=checks)
    torch.library.opcheck(kernels.log_softmax, (codes(3, 4), 1, 0.1, 3, 9.0, 255, 0, 255), test_utils=checks)
