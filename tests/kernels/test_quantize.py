"""fxquant::quantize and dequantize equal the functions of fxquant.qparams, layout change included."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.qparams import QParams, dequantize, quantize


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


SHAPES = [
    (1, 3, 150, 150),
    (2, 3, 5, 7),
    (1, 1, 9, 9),
    (3, 4, 6, 3),
    (1, 16, 4, 4),
    (2, 17, 5, 5),
    (1, 100, 7, 7),
    (2, 96, 31, 29),
    (2, 64, 1, 1),
    (0, 3, 8, 8),
    (5, 1000),
    (2, 7, 9),
    (2, 3, 4, 5, 6),
    (),
]

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

QPARAMS = [
    QParams(0.0187, 114),
    QParams(0.5, 0),
    QParams(0.03, 255),
    QParams(0.02, 128, 64, 192),
    QParams(1e-20, 7),
]


def layouts(x: Tensor) -> list[Tensor]:
    """`x` with the strides that it may have in a model."""
    result = [x, x.transpose(0, -1).contiguous().transpose(0, -1)] if x.dim() else [x]
    if x.dim() == 4:
        wide = torch.cat([x, x], dim=1)
        result += [x.to(memory_format=torch.channels_last), wide[:, : x.shape[1]], wide[..., ::2]]
        result.append(wide.to(memory_format=torch.channels_last)[:, x.shape[1] :])
    return result


# The large ones on two threads.
every_shape = pytest.mark.parametrize(
    ("shape", "threads"),
    [pytest.param(shape, 2, marks=pytest.mark.slow) if math.prod(shape) > 32768 else (shape, 1) for shape in SHAPES],
    indirect=["threads"],
    ids=str,
)


@every_shape
def test_quantize(shape: tuple[int, ...], isa: str, threads: int) -> None:
    for x in layouts(3 * torch.randn(shape)):
        for q in QPARAMS:
            y = kernels.quantize(x, q.scale, q.zero_point, q.quant_min, q.quant_max)
            assert torch.equal(y, quantize(x, q))
            expected = torch.empty_like(x)
            if x.dim() in CHANNELS_LAST:
                expected = torch.empty(x.shape, memory_format=CHANNELS_LAST[x.dim()])
            assert y.stride() == expected.stride()


@every_shape
def test_dequantize(shape: tuple[int, ...], isa: str, threads: int) -> None:
    for x in layouts(codes(*shape)):
        for q in QPARAMS:
            y = kernels.dequantize(x, q.scale, q.zero_point)
            assert torch.equal(y, dequantize(x, q))
            assert y.stride() == torch.empty_like(x, memory_format=_float_format(x)).stride()


def _float_format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.dim() in CHANNELS_LAST else torch.preserve_format


@pytest.mark.parametrize("shape", [(70,), (1, 7, 2, 5), (1, 2, 7, 5), (1, 3, 23, 1)], ids=str)
def test_special_values(shape: tuple[int, ...], isa: str) -> None:
    special = [0.0, -0.0, torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 1e-45, 0.5, 1.5, 2.5, -0.5, -1.5, 2.4999998]
    expected = [100, 100, 20, 230, 20, 230, 20, 100, 100, 102, 102, 100, 98, 102]
    count = torch.Size(shape).numel()
    x = torch.tensor(special).repeat(count)[:count].reshape(shape)
    y = kernels.quantize(x, 1.0, 100, 20, 230)
    assert y.flatten().tolist() == (expected * count)[:count]


def test_every_code_survives(isa: str) -> None:
    every = torch.arange(256, dtype=torch.uint8).repeat(7).reshape(1, 16, 16, 7)
    for scale, zero_point in ((0.1, 0), (0.0173, 128), (3.7, 255)):
        back = kernels.quantize(kernels.dequantize(every, scale, zero_point), scale, zero_point, 0, 255)
        assert torch.equal(back, every)


def test_example_of_the_notes(isa: str) -> None:
    """The uint8 twin of torch's int8 example: zero point and bounds moved by 128."""
    x = torch.tensor([-1.0, 0.0, 1.0, 20.0])
    q = kernels.quantize(x, 0.1, 138, 0, 255)
    assert (q.int() - 128).tolist() == [0, 10, 20, 127]
    torch.testing.assert_close(kernels.dequantize(q, 0.1, 138), torch.tensor([-1.0, 0.0, 1.0, 11.7]))


def test_refusals() -> None:
    with pytest.raises(InputError, match="float32"):
        kernels.quantize(torch.zeros(3, dtype=torch.float64), 1.0, 0, 0, 255)
    with pytest.raises(InputError, match="uint8"):
        kernels.dequantize(torch.zeros(3), 1.0, 0)


def test_fake_agrees() -> None:
    for x in layouts(torch.randn(2, 3, 5, 7)) + layouts(torch.randn(4, 6)):
        checks = ("test_schema", "test_faketensor")
        torch.library.opcheck(kernels.quantize, (x, 0.1, 3, 0, 255), test_utils=checks)
        torch.library.opcheck(kernels.dequantize, (x.to(torch.uint8), 0.1, 3), test_utils=checks)
