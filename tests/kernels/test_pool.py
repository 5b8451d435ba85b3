"""The pooling kernels equal the plain-torch integer ops, whatever the windows, the ISA and the threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from fxquant.ops.integer.pool import int8_adaptive_avg_pool2d, int8_avg_pool2d, int8_max_pool2d
from fxquant.qparams import Requantize

QPARAMS = [(0.731, 0, Requantize(0)), (1.0, 255, Requantize(128)), (2.5, 131, Requantize(77, 20, 230))]

SHAPES = [(1, 64, 13, 12), (2, 24, 7, 9), (1, 100, 5, 5), (3, 1, 8, 6)]

# kernel, stride, padding
WINDOWS = [
    ((3, 3), (2, 2), (1, 1)),
    ((2, 2), (2, 2), (0, 0)),
    ((3, 2), (1, 3), (1, 0)),
    ((5, 4), (3, 2), (2, 1)),
    ((1, 1), (2, 2), (0, 0)),
]


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", SHAPES)
def test_max_pool2d(shape: tuple[int, ...], isa: str, threads: int) -> None:
    x = images(*shape)
    for kernel, stride, padding in WINDOWS:
        for dilation in ((1, 1), (2, 1)):
            if dilation[0] * (kernel[0] - 1) >= shape[2] + 2 * padding[0]:
                continue
            for ceil_mode in (False, True):
                y = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
                assert y.is_contiguous(memory_format=torch.channels_last)
                assert torch.equal(y, int8_max_pool2d(x, kernel, stride, padding, dilation, ceil_mode))


@pytest.mark.parametrize("shape", SHAPES)
def test_avg_pool2d(shape: tuple[int, ...], isa: str, threads: int) -> None:
    x = images(*shape)
    for kernel, stride, padding in WINDOWS:
        for multiplier, x_zero_point, output in QPARAMS:
            for ceil_mode, include, divisor in (
                (False, True, None),
                (False, False, None),
                (True, True, None),
                (True, False, None),
                (True, True, 7),
                (False, False, -3),
            ):
                rest = (kernel, stride, padding, ceil_mode, include, divisor, multiplier, x_zero_point)
                y = avg_pool2d(x, *rest, *output)
                assert torch.equal(y, int8_avg_pool2d(x, *rest, output)), rest


@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_avg_pool2d(shape: tuple[int, ...], isa: str, threads: int) -> None:
    x = images(*shape)
    for size in ((1, 1), (7, 7), (3, 2), (1, 6), (20, 4)):
        for multiplier, x_zero_point, output in QPARAMS:
            y = adaptive_avg_pool2d(x, size, multiplier, x_zero_point, *output)
            assert torch.equal(y, int8_adaptive_avg_pool2d(x, size, multiplier, x_zero_point, output)), size


def test_shapes_are_those_of_torch() -> None:
    for size in range(1, 12):
        for kernel in range(1, 6):
            for stride in range(1, 6):
                for padding in range(kernel // 2 + 1):
                    if size + 2 * padding < kernel:
                        continue
                    for ceil_mode in (False, True):
                        x = images(1, 1, size, size)
                        square = ([kernel], [stride], [padding])
                        expected = torch.nn.functional.max_pool2d(x.float(), kernel, stride, padding, 1, ceil_mode)
                        assert torch.equal(max_pool2d(x, *square, [1], ceil_mode), expected.to(torch.uint8))


def test_global_average_of_a_large_image(isa: str, threads: int) -> None:
    x = torch.full((1, 70, 90, 80), 255, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert torch.equal(adaptive_avg_pool2d(x, [1, 1], 0.5, 0, 3, 0, 255), torch.full((1, 70, 1, 1), 131).byte())
    assert torch.equal(
        avg_pool2d(x, [90, 80], [], [0], False, True, None, 0.5, 255, 3, 0, 255).unique(), torch.tensor([3]).byte()
    )


def test_other_layouts_and_default_stride() -> None:
    x = images(2, 12, 8, 8)
    y = max_pool2d(x, [2], [], [0], [1], False)
    assert y.shape == (2, 12, 4, 4)
    assert torch.equal(max_pool2d(x.contiguous(), [2], [2], [0], [1], False), y)
    assert torch.equal(max_pool2d(x[:, 3:9], [2], [2], [0], [1], False), y[:, 3:9])


def test_empty_batch() -> None:
    assert max_pool2d(images(0, 5, 8, 8), [2], [2], [0], [1], False).shape == (0, 5, 4, 4)
    assert adaptive_avg_pool2d(images(0, 5, 8, 8), [1], 1.0, 0, 0, 0, 255).shape == (0, 5, 1, 1)


def test_fake_tensors_have_the_shape_of_the_result() -> None:
    x = images(2, 16, 9, 7)
    torch.library.opcheck(max_pool2d, (x, [3], [2], [1], [1], True))
    torch.library.opcheck(avg_pool2d, (x, [3], [2], [1], True, False, None, 0.5, 3, 4, 0, 255))
    torch.library.opcheck(adaptive_avg_pool2d, (x, [3, 2], 0.5, 3, 4, 0, 255))


def test_bad_input() -> None:
    x = images(1, 4, 6, 6)
    with pytest.raises(InputError, match="uint8"):
        max_pool2d(x.float(), [2], [2], [0], [1], False)
    with pytest.raises(InputError, match=r"\[N, C, H, W\]"):
        max_pool2d(x[0], [2], [2], [0], [1], False)
    with pytest.raises(InputError, match="no output"):
        max_pool2d(x, [7], [1], [0], [1], False)
    with pytest.raises(InputError, match="half of the kernel"):
        max_pool2d(x, [2], [1], [2], [1], False)
    with pytest.raises(InputError, match="at least 1"):
        avg_pool2d(x, [2], [0], [0], False, True, None, 1.0, 0, 0, 0, 255)
    with pytest.raises(InputError, match="divisor"):
        avg_pool2d(x, [2], [2], [0], False, True, 0, 1.0, 0, 0, 0, 255)
    with pytest.raises(InputError, match="no output"):
        adaptive_avg_pool2d(x, [0, 1], 1.0, 0, 0, 0, 255)
