"""fxquant::conv2d equals the plain-torch integer op bit for bit, on every ISA and thread count."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry, conv2d, pack_conv2d
from fxquant.ops.integer.conv import int8_conv2d
from fxquant.qparams import Requantize, Residual


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=torch.channels_last)


@dataclass
class Problem:
    """A convolution with random parameters whose outputs spread over 0..255."""

    shape: tuple[int, int, int, int]
    geometry: ConvGeometry
    with_residual: bool = False
    with_table: bool = False
    seed: int = 0
    arguments: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        g, channels = self.geometry, self.shape[1]
        shape = (g.out_channels, channels // g.groups, g.kernel_h, g.kernel_w)
        self.x = images(*self.shape)
        self.weight = torch.randint(-128, 128, shape, dtype=torch.int8)
        self.bias = torch.randint(-3000, 3000, shape[:1], dtype=torch.int32)
        summands = self.weight[0].numel()
        self.multiplier = (torch.rand(g.out_channels) + 0.5) * 60 / (74 * 74 * summands**0.5)
        self.x_zero_point = int(torch.randint(0, 256, ()))
        self.output = Requantize(int(torch.randint(0, 256, ())), int(torch.randint(0, 9, ())), 250)
        out = (self.shape[0], g.out_channels, *g.output_size(*self.shape[2:]))
        self.residual = images(*out) if self.with_residual else None
        self.residual_params = Residual(90, 0.37) if self.with_residual else None
        self.table = torch.randint(0, 256, (256,), dtype=torch.uint8) if self.with_table else None

    def pack(self) -> Tensor:
        return pack_conv2d(
            self.weight,
            self.bias,
            self.multiplier,
            geometry=self.geometry,
            x_zero_point=self.x_zero_point,
            output=self.output,
            residual=self.residual_params,
            table=self.table,
        )

    def computed(self) -> Tensor:
        y: Tensor = conv2d(self.x, self.pack(), self.residual, list(self.geometry))
        return y

    def expected(self) -> Tensor:
        g = self.geometry
        return int8_conv2d(
            self.x,
            self.weight,
            self.bias,
            self.multiplier,
            self.x_zero_point,
            self.output,
            (g.stride_h, g.stride_w),
            (g.pad_top, g.pad_left, g.pad_bottom, g.pad_right),
            (g.dilation_h, g.dilation_w),
            g.groups,
            self.residual,
            self.residual_params,
            self.table,
        )


def square(out_channels: int, kernel: int, stride: int, pad: int, groups: int = 1, dilation: int = 1) -> ConvGeometry:
    return ConvGeometry(out_channels, kernel, kernel, stride, stride, pad, pad, pad, pad, dilation, dilation, groups)


NAMED = {
    "pointwise": Problem((2, 64, 14, 14), square(96, 1, 1, 0), with_residual=True),
    "pointwise strided": Problem((2, 64, 15, 15), square(96, 1, 2, 0)),
    "3x3": Problem((2, 64, 14, 14), square(64, 3, 1, 1), with_residual=True),
    "3x3 strided": Problem((1, 64, 15, 14), square(130, 3, 2, 1)),
    "3x3 deep": Problem((1, 256, 7, 7), square(200, 3, 1, 1), with_table=True),
    "stem 7x7": Problem((2, 3, 40, 40), square(64, 7, 2, 3)),
    "stem 3x3": Problem((1, 3, 33, 33), square(32, 3, 2, 1)),
    "stem without padding": Problem((1, 3, 33, 33), square(32, 3, 1, 0)),
    "one channel": Problem((1, 1, 12, 12), square(6, 5, 1, 2)),
    "conv1d": Problem((2, 20, 1, 50), ConvGeometry(24, 1, 5, pad_left=2, pad_right=2)),
    "dilated": Problem((1, 16, 20, 20), square(16, 3, 1, 2, dilation=2)),
    "dilated stem": Problem((1, 3, 20, 20), square(16, 3, 1, 2, dilation=2)),
    "groups of 4": Problem((1, 128, 10, 10), square(128, 3, 1, 1, groups=32)),
    "groups of 8": Problem((1, 64, 10, 10), square(64, 3, 2, 1, groups=8)),
    "groups of 40": Problem((1, 120, 7, 7), square(60, 1, 1, 0, groups=3), with_residual=True),
    "depthwise": Problem((1, 19, 9, 9), square(19, 3, 1, 1, groups=19)),
    "kernel as large as the image": Problem((3, 32, 4, 4), square(10, 4, 1, 0)),
    "asymmetric": Problem((1, 8, 9, 9), ConvGeometry(9, 3, 2, 2, 1, 0, 2, 1, 0)),
    "empty batch": Problem((0, 8, 9, 9), square(9, 3, 1, 1), with_residual=True),
}


@pytest.mark.parametrize("name", NAMED)
def test_equals_the_integer_op(name: str, isa: str, threads: int) -> None:
    computed, expected = NAMED[name].computed(), NAMED[name].expected()
    assert computed.shape == expected.shape
    assert computed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(computed, expected)


def random_problem(seed: int) -> Problem:
    pick = random.Random(seed)
    groups = pick.choice([1, 1, 1, 2, 3, 8])
    kernel_h, kernel_w, pads = pick.randint(1, 5), pick.randint(1, 5), [pick.randint(0, 2) for _ in range(4)]
    dilations = (pick.randint(1, 2), pick.randint(1, 2))
    geometry = ConvGeometry(
        groups * pick.randint(1, 40),
        kernel_h,
        kernel_w,
        pick.randint(1, 3),
        pick.randint(1, 3),
        *pads,
        *dilations,
        groups,
    )
    size = [dilations[0] * (kernel_h - 1) + pick.randint(1, 9), dilations[1] * (kernel_w - 1) + pick.randint(1, 9)]
    shape = (pick.randint(1, 3), groups * pick.randint(1, 30), size[0], size[1])
    return Problem(shape, geometry, pick.random() < 0.5, pick.random() < 0.3, seed)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_integer_op_on_random_problems(seed: int, isa: str) -> None:
    problem = random_problem(seed)
    assert torch.equal(problem.computed(), problem.expected()), problem.geometry


def test_outputs_of_the_random_layers_spread() -> None:
    assert NAMED["3x3"].expected().unique().numel() > 150


def test_inputs_need_not_be_channels_last() -> None:
    problem = Problem((2, 12, 9, 8), square(20, 3, 1, 1), with_residual=True)
    expected = problem.expected()
    assert problem.residual is not None
    problem.residual = problem.residual.contiguous()
    for x in (problem.x.contiguous(), torch.cat([problem.x, problem.x], 1)[:, :12]):
        problem.x = x
        assert torch.equal(problem.computed(), expected)


def test_pack_refuses() -> None:
    problem = Problem((1, 8, 9, 9), square(10, 3, 1, 1))
    for geometry, message in [
        (square(11, 3, 1, 1), "does not fit"),
        (square(10, 1, 1, 1), "does not fit"),
        (square(10, 3, 0, 1), "stride_h = 0"),
        (square(10, 3, 1, -1), "pad_top = -1"),
        (square(10, 3, 1, 1, groups=3), "cannot be divided into 3 groups"),
    ]:
        problem.geometry = geometry
        with pytest.raises(InputError, match=message):
            problem.pack()


def test_conv2d_refuses() -> None:
    problem = Problem((1, 8, 9, 9), square(10, 3, 1, 1))
    packed, x, g = problem.pack(), problem.x, problem.geometry
    for bad_x in (x.float(), x[0]):
        with pytest.raises(InputError, match="takes a uint8 tensor"):
            conv2d(bad_x, packed, None, list(g))
    with pytest.raises(InputError, match="as many channels"):
        conv2d(images(1, 9, 9, 9), packed, None, list(g))
    with pytest.raises(InputError, match="smaller than the kernel"):
        conv2d(images(1, 8, 9, 9), packed, None, list(g._replace(kernel_h=20)))
    with pytest.raises(InputError, match="not the one that the weights were packed for"):
        conv2d(x, packed, None, list(g._replace(kernel_h=2)))
    with pytest.raises(InputError, match="residual must be given exactly"):
        conv2d(x, packed, images(1, 10, 9, 9), list(g))
    with pytest.raises(InputError, match=r"residual must be uint8 of shape \[1, 10, 9, 9\]"):
        conv2d(x, packed, images(1, 10, 9, 8), list(g))
    with pytest.raises(InputError, match="not made by a pack function"):
        conv2d(x, torch.zeros_like(packed), None, list(g))
    with pytest.raises(InputError, match="12 integers"):
        conv2d(x, packed, None, [10, 3, 3])


def test_traces_as_one_op() -> None:
    problem = NAMED["3x3 strided"]
    torch.library.opcheck(conv2d, (problem.x, problem.pack(), None, list(problem.geometry)))
