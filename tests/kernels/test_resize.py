"""Int8 interpolation equals its plain-torch integer op, and torch's float interpolation to within half a step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.resize import int8_interpolate_bilinear, int8_interpolate_nearest


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=torch.channels_last)


# Shape of the input, size of the output, scale.
CASES = [
    ((2, 19, 7, 5), (14, 10), (0.0, 0.0)),
    ((1, 64, 7, 5), (13, 11), (0.0, 0.0)),
    ((1, 96, 8, 8), (16, 16), (2.0, 2.0)),
    ((2, 3, 9, 11), (4, 3), (0.0, 0.0)),
    ((1, 1, 9, 11), (13, 16), (1.5, 1.5)),
    ((1, 72, 5, 6), (5, 12), (1.0, 2.0)),
    ((1, 16, 1, 1), (4, 3), (0.0, 0.0)),
    ((1, 16, 6, 7), (1, 1), (0.0, 0.0)),
    ((1, 40, 33, 31), (61, 63), (1.87, 2.05)),
    ((3, 5, 10, 10), (10, 10), (0.0, 0.0)),
    ((0, 5, 4, 4), (8, 8), (0.0, 0.0)),
]


# The large one on two threads.
every_case = pytest.mark.parametrize(
    ("shape", "size", "scale", "threads"),
    [(*case, 2 if case[1] == (61, 63) else 1) for case in CASES],
    indirect=["threads"],
)


@every_case
@pytest.mark.parametrize("align_corners", [False, True])
def test_bilinear(shape, size, scale, align_corners: bool, isa: str, threads: int) -> None:
    x = images(*shape)
    for zero_point in (0, 128, 255):
        y = kernels.interpolate_bilinear(x, size, scale, align_corners, zero_point)
        assert torch.equal(y, int8_interpolate_bilinear(x, size, scale, align_corners, zero_point))
        assert y.is_contiguous(memory_format=torch.channels_last)


@every_case
def test_nearest(shape, size, scale, threads: int) -> None:
    x = images(*shape)
    y = kernels.interpolate_nearest(x, size, scale)
    assert torch.equal(y, int8_interpolate_nearest(x, size, scale))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("scale", [2.0, 1.5, 0.7, 3.3, (2.0, 0.5)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_torch_agrees_for_scales(scale: float | tuple[float, float], align_corners: bool) -> None:
    x = images(2, 6, 13, 9)
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    expected = F.interpolate(x.float(), scale_factor=scale, mode="bilinear", align_corners=align_corners)
    y = int8_interpolate_bilinear(x, expected.shape[2:], scales, align_corners, 9)
    assert (y - expected).abs().max() <= 0.5001
    nearest = F.interpolate(x.float(), scale_factor=scale, mode="nearest")
    assert torch.equal(int8_interpolate_nearest(x, nearest.shape[2:], scales).float(), nearest)


@pytest.mark.parametrize("size", [(26, 18), (17, 5), (1, 1), (40, 13), (13, 9)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_torch_agrees_for_sizes(size: tuple[int, int], align_corners: bool) -> None:
    x = images(2, 6, 13, 9)
    expected = F.interpolate(x.float(), size=size, mode="bilinear", align_corners=align_corners)
    y = int8_interpolate_bilinear(x, size, (0.0, 0.0), align_corners, 9)
    assert (y - expected).abs().max() <= 0.5001
    nearest = F.interpolate(x.float(), size=size, mode="nearest")
    assert torch.equal(int8_interpolate_nearest(x, size, (0.0, 0.0)).float(), nearest)


def test_other_layouts_are_made_channels_last(isa: str) -> None:
    x = torch.randint(0, 256, (2, 6, 5, 4), dtype=torch.uint8)
    last = x.to(memory_format=torch.channels_last)
    for y, expected in (
        (f(x, (9, 7), (0.0, 0.0), *rest), f(last, (9, 7), (0.0, 0.0), *rest))
        for f, rest in ((kernels.interpolate_bilinear, (False, 3)), (kernels.interpolate_nearest, ()))
    ):
        assert torch.equal(y, expected)


def test_a_scale_near_zero_reads_the_last_pixel() -> None:
    x = images(1, 3, 4, 5)
    corner = x[:, :, -1:, -1:].expand(1, 3, 3, 3)
    assert torch.equal(kernels.interpolate_bilinear(x, (3, 3), (1e-300, 1e-30), False, 7), corner)
    assert torch.equal(kernels.interpolate_nearest(x, (3, 3), (1e-300, 1e-30))[:, :, 1:, 1:], corner[:, :, 1:, 1:])


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"not torch\.float32"):
        kernels.interpolate_nearest(images(1, 2, 3, 4).float(), (6, 8), (0.0, 0.0))
    with pytest.raises(InputError, match="output_size"):
        kernels.interpolate_bilinear(images(1, 2, 3, 4), (0, 8), (0.0, 0.0), False, 0)
    with pytest.raises(InputError, match=r"\[N, C, H, W\]"):
        kernels.interpolate_nearest(images(1, 2, 3, 4)[0], (6, 8), (0.0, 0.0))


def test_fake_agrees() -> None:
    x, checks = images(2, 3, 5, 7), ("test_schema", "test_faketensor")
    torch.library.opcheck(kernels.interpolate_bilinear, (x, [8, 9], [0.0, 1.5], False, 3), test_utils=checks)
    torch.library.opcheck(kernels.interpolate_nearest, (x, [8, 9], [0.0, 1.5]), test_utils=checks)
