"""Images that are quantized at run time, and their convolution, equal plain torch bit for bit, on every ISA."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry
from fxquant.kernels.dynamic.images import TERMS
from fxquant.ops.integer.dynamic_conv import dynamic_conv2d
from fxquant.qparams import Dynamic, FloatOutput, dynamic_images

LEVELS = [Dynamic(), Dynamic(by_row=False), Dynamic(True, 3, 130)]


def as_terms(scale: Tensor, zero_point: Tensor, examples: int) -> Tensor:
    pairs = torch.stack([zero_point.int().flatten(), scale.flatten().view(torch.int32)], 1)
    return pairs.expand(examples, 2).contiguous().view(torch.uint8)


@pytest.mark.parametrize("dynamic", LEVELS)
@pytest.mark.parametrize(
    ("shape", "borders"),
    [
        ((1, 3, 9, 11), (0, 0)),
        ((3, 17, 6, 5), (1, 2)),
        ((2, 64, 30, 33), (1, 1)),
        ((2, 1, 1, 1), (3, 0)),
        ((2, 5, 4, 3, 7), (1, 0, 2)),
    ],
)
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "apart", "reversed"])
def test_codes_terms_and_borders(
    shape: tuple[int, ...], borders: tuple[int, ...], dynamic: Dynamic, layout: str, isa: str, threads: int
) -> None:
    x = (torch.randn(shape) + 0.5) * (10.0 ** torch.arange(shape[0])).reshape(-1, *[1] * (len(shape) - 1))
    if layout == "channels last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    elif layout == "apart":
        x = torch.stack([x, x + 1000.0], -1)[..., 0]
    elif layout == "reversed":
        x = x.permute(*reversed(range(len(shape)))).contiguous().permute(*reversed(range(len(shape))))
    codes, terms = kernels.dynamic_quantize(x, list(borders), *dynamic)
    expected, scale, zero_point = dynamic_images(x, dynamic)
    assert torch.equal(terms, as_terms(scale, zero_point, shape[0]))
    surrounded = zero_point.to(torch.uint8).expand(codes.shape).clone()
    inside = surrounded
    for dim, (border, size) in enumerate(zip(borders, shape[2:], strict=True), 2):
        inside = inside.narrow(dim, border, size)
    inside.copy_(expected)
    assert torch.equal(codes, surrounded)


@pytest.mark.parametrize("special", [0.0, 1e-42, 3e38, -1.0])
def test_zeros_denormals_and_extremes(special: float, isa: str) -> None:
    x = torch.zeros(2, 3, 4, 5)
    x[1, 2] = special
    codes, terms = kernels.dynamic_quantize(x, [0, 0], *Dynamic())
    expected, scale, zero_point = dynamic_images(x, Dynamic())
    assert torch.equal(codes, expected)
    assert torch.equal(terms, as_terms(scale, zero_point, 2))


CASES = [  # in, out, kernel, stride, dilation, groups
    (3, 8, (7, 7), (2, 2), (1, 1), 1),
    (16, 33, (1, 1), (1, 1), (1, 1), 1),
    (8, 12, (3, 2), (1, 2), (2, 1), 4),
    (70, 70, (3, 3), (1, 1), (1, 1), 70),
    (64, 48, (3, 3), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dynamic", LEVELS)
def test_a_convolution_equals_the_reference(case: Any, dynamic: Dynamic, isa: str, threads: int) -> None:
    inputs, outputs, kernel, stride, dilation, groups = case
    x = torch.randn(3, inputs, 11, 13) * torch.tensor([1.0, 100.0, 0.01]).reshape(3, 1, 1, 1)
    weight = torch.randint(-128, 128, (outputs, inputs // groups, *kernel), dtype=torch.int8)
    multiplier, bias, output = torch.rand(outputs) * 0.01, torch.randn(outputs), FloatOutput(-1.0, 1.5)
    geometry = ConvGeometry(outputs, *kernel, *stride, 0, 0, 0, 0, *dilation, groups)
    packed = kernels.pack_dynamic_conv2d(weight, multiplier, bias, geometry=geometry, output=output)
    padding = (1, 2)
    y = kernels.dynamic_conv2d(*kernels.dynamic_quantize(x, list(padding), *dynamic), packed, list(geometry))
    settings = (stride, padding, dilation, groups)
    assert torch.equal(y, dynamic_conv2d(x, weight, multiplier, bias, dynamic, output, *settings))
    assert y.is_contiguous()


def one_by_one() -> tuple[Tensor, list[int]]:
    geometry = ConvGeometry(2, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1)
    weight = torch.ones(2, 4, 1, 1, dtype=torch.int8)
    packed = kernels.pack_dynamic_conv2d(weight, torch.ones(2), torch.zeros(2), geometry=geometry, output=FloatOutput())
    return packed, list(geometry)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_an_image_that_holds_no_numbers_gives_nan_and_others_do_not(odd: float, isa: str) -> None:
    packed, geometry = one_by_one()
    x = torch.randn(3, 4, 5, 6)
    x[1, 3, 4, 5] = odd
    y = kernels.dynamic_conv2d(*kernels.dynamic_quantize(x, [0, 0], *Dynamic()), packed, geometry)
    assert [bool(each.isnan().all()) for each in y] == [False, True, False]
    assert not y[[0, 2]].isnan().any()


def test_refusals() -> None:
    packed, geometry = one_by_one()
    codes, terms = kernels.dynamic_quantize(torch.randn(2, 4, 5, 6), [0, 0], *Dynamic())
    with pytest.raises(InputError, match="it takes a float32 tensor, not torch\\.float64"):
        kernels.dynamic_quantize(torch.randn(2, 4, 5, 6).double(), [0, 0], *Dynamic())
    with pytest.raises(InputError, match=f"terms are uint8 \\[2, {TERMS}\\]"):
        kernels.dynamic_conv2d(codes, terms[:1], packed, geometry)
    with pytest.raises(InputError, match="another layer type"):
        kernels.conv2d(codes, packed, None, geometry, True)
    with pytest.raises(InputError, match="a dynamic layer reads no padding"):
        kernels.dynamic_conv2d(codes, terms, packed, [*geometry[:5], 1, 1, 1, 1, *geometry[9:]])
    with pytest.raises(InputError, match="as many channels"):
        kernels.dynamic_conv2d(codes[:, :3], terms, packed, geometry)
