"""The kernels of arithmetic equal the plain-torch integer ops, whatever the layouts, the ISA and the threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.elementwise import int8_add, int8_div, int8_maximum, int8_minimum, int8_mul
from fxquant.qparams import Requantize


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def images(*shape: int) -> Tensor:
    return codes(*shape).to(memory_format=torch.channels_last)


# The operands, and the memory format of the result.
OPERANDS = {
    "vectors": (lambda: (codes(1001), codes(1001)), torch.contiguous_format),
    "scalars": (lambda: (codes(1)[0], codes(1)[0]), torch.contiguous_format),
    "images": (lambda: (images(2, 19, 7, 5), images(2, 19, 7, 5)), torch.channels_last),
    "nchw": (lambda: (codes(2, 19, 7, 5), codes(2, 19, 7, 5)), torch.contiguous_format),
    "mixed layouts": (lambda: (images(2, 19, 7, 5), codes(2, 19, 7, 5)), torch.channels_last),
    "concat slices": (lambda: (images(2, 70, 9, 5)[:, 3:40], images(2, 37, 9, 5)), torch.channels_last),
    "excitation": (lambda: (images(2, 72, 9, 5), images(2, 72, 1, 1)), torch.channels_last),
    "excitation of b": (lambda: (images(2, 24, 1, 1), images(2, 24, 9, 5)), torch.channels_last),
    "excitation, nchw": (lambda: (codes(2, 72, 9, 5), codes(2, 72, 1, 1)), torch.contiguous_format),
    "one number": (lambda: (images(2, 72, 9, 5), codes(1)), torch.channels_last),
    "per pixel": (lambda: (images(2, 72, 9, 5), images(1, 1, 9, 5)), torch.channels_last),
    "both broadcast": (lambda: (images(2, 72, 9, 1), codes(5)), torch.channels_last),
    "ranks differ": (lambda: (codes(4, 1, 6), codes(2, 1, 5, 1)), torch.contiguous_format),
    "both expanded": (lambda: (codes(7, 1).expand(7, 9), codes(7, 1).expand(7, 9)), torch.contiguous_format),
    "strided": (lambda: (codes(9, 40)[:, ::2], codes(9, 20)), torch.contiguous_format),
    "strided, long rows": (lambda: (codes(3, 2200)[:, ::2], codes(3, 1100)), torch.contiguous_format),
    "strided, one row for all": (lambda: (codes(7, 700), codes(1400)[::2]), torch.contiguous_format),
    "strided, both": (lambda: (codes(5, 60)[:, ::2], codes(5, 90)[:, ::3]), torch.contiguous_format),
    "rows of images": (lambda: (images(2, 72, 9, 5), codes(1, 72, 9, 1)), torch.channels_last),
    "large images": (lambda: (images(1, 96, 33, 31), images(1, 96, 33, 31)), torch.channels_last),
    "large excitation": (lambda: (images(1, 96, 33, 31), images(1, 96, 1, 1)), torch.channels_last),
    "empty": (lambda: (images(0, 19, 7, 5), images(0, 19, 7, 5)), torch.channels_last),
}

QPARAMS = [
    (0, 255, Requantize(0)),
    (128, 3, Requantize(128)),
    (255, 0, Requantize(255)),
    (17, 200, Requantize(100, 100, 180)),
]


# The large ones on two threads.
every_case = pytest.mark.parametrize(
    ("operands", "threads"),
    [pytest.param(name, 2, marks=pytest.mark.slow) if "large" in name else (name, 1) for name in OPERANDS],
    indirect=["threads"],
)


@every_case
def test_extremes(operands: str, isa: str, threads: int) -> None:
    make, memory_format = OPERANDS[operands]
    for a_zero_point, b_zero_point, output in QPARAMS:
        a, b = make()
        for multipliers in ((0.731, 0.4), (0.5, 0.25), (3e9, 1e-9)):
            arguments = (*multipliers, a_zero_point, b_zero_point)
            for kernel, op in ((kernels.maximum, int8_maximum), (kernels.minimum, int8_minimum)):
                y = kernel(a, b, *arguments, *output)
                assert torch.equal(y, op(a, b, *arguments, output))
                assert y.is_contiguous(memory_format=memory_format)


@every_case
def test_div(operands: str, isa: str, threads: int) -> None:
    make, memory_format = OPERANDS[operands]
    for a_zero_point, b_zero_point, output in QPARAMS:
        a, b = make()
        for multiplier in (0.5, 17.3, 1e-9, 3e9):
            y = kernels.div(a, b, multiplier, a_zero_point, b_zero_point, *output)
            assert torch.equal(y, int8_div(a, b, multiplier, a_zero_point, b_zero_point, output))
            assert y.is_contiguous(memory_format=memory_format)


def test_a_quotient_by_zero_saturates(isa: str) -> None:
    a = torch.tensor([9, 10, 11], dtype=torch.uint8)
    b = torch.full((3,), 7, dtype=torch.uint8)
    assert kernels.div(a, b, 1.0, 10, 7, 128, 3, 250).tolist() == [3, 3, 250]


@every_case
def test_add(operands: str, isa: str, threads: int) -> None:
    make, memory_format = OPERANDS[operands]
    for a_zero_point, b_zero_point, output in QPARAMS:
        a, b = make()
        for a_multiplier, b_multiplier in ((0.731, 0.4), (0.5, 0.25), (1e-9, 3.0), (3e9, -1e9)):
            y = kernels.add(a, b, a_multiplier, b_multiplier, a_zero_point, b_zero_point, *output)
            expected = int8_add(a, b, a_multiplier, b_multiplier, a_zero_point, b_zero_point, output)
            assert torch.equal(y, expected)
            assert y.is_contiguous(memory_format=memory_format)


@every_case
def test_mul(operands: str, isa: str, threads: int) -> None:
    make, memory_format = OPERANDS[operands]
    for a_zero_point, b_zero_point, output in QPARAMS:
        a, b = make()
        for multiplier in (0.00613, 0.5, 1e-9, 3e9):
            y = kernels.mul(a, b, multiplier, a_zero_point, b_zero_point, *output)
            assert torch.equal(y, int8_mul(a, b, multiplier, a_zero_point, b_zero_point, output))
            assert y.is_contiguous(memory_format=memory_format)


def test_ties_go_to_even(isa: str) -> None:
    a, zero = torch.arange(256, dtype=torch.uint8), torch.zeros(256, dtype=torch.uint8)
    y = kernels.add(a, zero, 0.5, 0.5, 0, 0, 1, 0, 255)
    assert y[:8].tolist() == [1, 1, 2, 3, 3, 3, 4, 5]
    assert torch.equal(y, (a / 2).round().add(1).to(torch.uint8))


def test_refusals() -> None:
    with pytest.raises(InputError, match="do not broadcast"):
        kernels.add(codes(3, 4), codes(3, 5), 1.0, 1.0, 0, 0, 0, 0, 255)
    with pytest.raises(InputError, match=r"not torch\.float32"):
        kernels.mul(codes(3).float(), codes(3), 1.0, 0, 0, 0, 0, 255)


@pytest.mark.parametrize("operands", OPERANDS)
def test_fake_agrees(operands: str) -> None:
    a, b = OPERANDS[operands][0]()
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(kernels.add, (a, b, 0.5, 0.25, 3, 4, 5, 0, 255), test_utils=checks)
    torch.library.opcheck(kernels.mul, (a, b, 0.5, 3, 4, 5, 0, 255), test_utils=checks)
