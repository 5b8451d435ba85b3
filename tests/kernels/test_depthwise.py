"""fxquant::depthwise_conv2d equals int8_conv2d in plain torch, whatever the geometry, the ISA and the threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry, depthwise_conv2d, pack_depthwise_conv2d
from fxquant.ops.integer.conv import int8_conv2d
from fxquant.qparams import Requantize, Residual
from fxquant.target import supported_isas


class Layer(NamedTuple):
    weight: Tensor
    bias: Tensor
    multiplier: Tensor


def layer(g: ConvGeometry) -> Layer:
    weight = torch.randint(-128, 128, (g.out_channels, 1, g.kernel_h, g.kernel_w), dtype=torch.int8)
    bias = torch.randint(-20000, 20000, (g.out_channels,), dtype=torch.int32)
    return Layer(weight, bias, torch.rand(g.out_channels) * 0.01 + 0.001)


def depthwise(channels: int, *rest: int) -> ConvGeometry:
    return ConvGeometry(channels, *rest)._replace(groups=channels)


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=torch.channels_last)


def expected(x: Tensor, params: Layer, g: ConvGeometry, x_zero_point: int, output: Requantize, **rest: Any) -> Tensor:
    padding = (g.pad_top, g.pad_left, g.pad_bottom, g.pad_right)
    dilation = (g.dilation_h, g.dilation_w)
    return int8_conv2d(x, *params, x_zero_point, output, (g.stride_h, g.stride_w), padding, dilation, g.groups, **rest)


GEOMETRIES = {
    "3x3": (depthwise(40, 3, 3, 1, 1, 1, 1, 1, 1), (2, 9, 11)),
    "3x3 stride 2": (depthwise(96, 3, 3, 2, 2, 1, 1, 1, 1), (1, 13, 10)),
    "3x3 stride 2, padded after": (depthwise(72, 3, 3, 2, 2, 0, 0, 1, 1), (1, 12, 12)),
    "5x5": (depthwise(144, 5, 5, 1, 1, 2, 2, 2, 2), (1, 8, 70)),
    "5x5 stride 2": (depthwise(33, 5, 5, 2, 2, 1, 2, 2, 1), (3, 11, 11)),
    "7x7": (depthwise(20, 7, 7, 1, 1, 3, 3, 3, 3), (1, 7, 7)),
    "dilated": (depthwise(17, 3, 3, 1, 1, 2, 3, 2, 3, 2, 3), (1, 9, 9)),
    "row": (depthwise(24, 1, 9, 1, 2, 0, 4, 0, 4), (1, 1, 50)),
    "column": (depthwise(24, 5, 1, 3, 1, 2, 0, 2, 0), (1, 20, 3)),
    "all padding": (depthwise(8, 3, 3, 1, 1, 5, 5, 5, 5), (1, 1, 1)),
    "1x1": (depthwise(130, 1, 1), (2, 3, 3)),
    "one channel": (depthwise(1, 3, 3, 1, 1, 1, 1, 1, 1), (1, 6, 6)),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries(name: str, isa: str, threads: int) -> None:
    g, (n, h, w) = GEOMETRIES[name]
    torch.manual_seed(1)
    params, x = layer(g), images(n, g.out_channels, h, w)
    residual, table = images(n, g.out_channels, *g.output_size(h, w)), torch.randperm(256).to(torch.uint8)
    add = Residual(77, 0.4)
    for x_zero_point, output in ((0, Requantize(0)), (255, Requantize(128)), (103, Requantize(255, 10, 240))):
        packed = pack_depthwise_conv2d(*params, geometry=g, x_zero_point=x_zero_point, output=output)
        y = depthwise_conv2d(x, packed, None, list(g))
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, expected(x, params, g, x_zero_point, output))

        packed = pack_depthwise_conv2d(
            *params, geometry=g, x_zero_point=x_zero_point, output=output, residual=add, table=table
        )
        y = depthwise_conv2d(x, packed, residual, list(g))
        rest = {"residual": residual, "residual_params": add, "table": table}
        assert torch.equal(y, expected(x, params, g, x_zero_point, output, **rest))


def test_other_layouts() -> None:
    g = depthwise(16, 3, 3, 1, 1, 1, 1, 1, 1)
    params, x = layer(g), images(2, 16, 6, 5)
    packed = pack_depthwise_conv2d(*params, geometry=g, x_zero_point=9, output=Requantize(9))
    y = depthwise_conv2d(x, packed, None, list(g))
    assert torch.equal(depthwise_conv2d(x.contiguous(), packed, None, list(g)), y)
    wide = images(2, 40, 6, 5)
    wide[:, 8:24] = x
    assert torch.equal(depthwise_conv2d(wide[:, 8:24], packed, None, list(g)), y)


def test_empty_batch() -> None:
    g = depthwise(16, 3, 3, 2, 2)
    packed = pack_depthwise_conv2d(*layer(g), geometry=g, x_zero_point=0, output=Requantize(0))
    assert depthwise_conv2d(images(0, 16, 9, 9), packed, None, list(g)).shape == (0, 16, 4, 4)
    adding = Residual(3, 0.5)
    packed = pack_depthwise_conv2d(*layer(g), geometry=g, x_zero_point=0, output=Requantize(0), residual=adding)
    assert depthwise_conv2d(images(0, 16, 9, 9), packed, images(0, 16, 4, 4), list(g)).shape == (0, 16, 4, 4)


def test_fake_tensors_have_the_shape_of_the_result() -> None:
    g = depthwise(16, 3, 3, 2, 1, 1, 0, 0, 1)
    packed = pack_depthwise_conv2d(*layer(g), geometry=g, x_zero_point=0, output=Requantize(0))
    torch.library.opcheck(depthwise_conv2d, (images(2, 16, 9, 7), packed, None, list(g)))


def test_bad_input() -> None:
    g = depthwise(16, 3, 3)
    params = layer(g)
    packed = pack_depthwise_conv2d(*params, geometry=g, x_zero_point=0, output=Requantize(0))
    x = images(1, 16, 9, 9)
    with pytest.raises(InputError, match="number of channels"):
        depthwise_conv2d(images(1, 17, 9, 9), packed, None, list(g))
    with pytest.raises(InputError, match="uint8"):
        depthwise_conv2d(x.float(), packed, None, list(g))
    with pytest.raises(InputError, match="too small"):
        depthwise_conv2d(images(1, 16, 2, 9), packed, None, list(g))
    with pytest.raises(InputError, match="residual"):
        depthwise_conv2d(x, packed, images(1, 16, 7, 7), list(g))
    with pytest.raises(InputError, match="residual"):
        depthwise_conv2d(x, packed, images(1, 16, 9, 9), list(g))
    with pytest.raises(InputError, match="geometry"):
        depthwise_conv2d(x, packed, None, list(g._replace(stride_h=2)))
    with pytest.raises(InputError, match="pack_depthwise_conv2d"):
        depthwise_conv2d(x, torch.zeros(4096, dtype=torch.uint8), None, list(g))
    with pytest.raises(InputError, match="pack_depthwise_conv2d"):
        depthwise_conv2d(x, packed[:-64], None, list(g))
    with pytest.raises(InputError, match="not aligned"):
        depthwise_conv2d(x, torch.cat([packed[:1], packed])[1:], None, list(g))
    for damaged in (8, 40, 64, 100):
        foreign = packed.clone()
        foreign[damaged] ^= 64
        with pytest.raises(InputError, match="pack_depthwise_conv2d"):
            depthwise_conv2d(x, foreign, None, list(g))
    with pytest.raises(InputError, match="weight"):
        pack_depthwise_conv2d(params.weight.int(), *params[1:], geometry=g, x_zero_point=0, output=Requantize(0))
    with pytest.raises(InputError, match="depthwise"):
        pack_depthwise_conv2d(*params, geometry=g._replace(groups=8), x_zero_point=0, output=Requantize(0))
    with pytest.raises(InputError, match="overflow"):
        pack_depthwise_conv2d(
            params.weight,
            params.bias + 2**31 - 30000,
            params.multiplier,
            geometry=g,
            x_zero_point=0,
            output=Requantize(0),
        )


def test_not_a_number_is_quant_min(isa: str) -> None:
    g = depthwise(40, 3, 3)
    infinite = Layer(torch.zeros(40, 1, 3, 3, dtype=torch.int8), torch.zeros(40).int(), torch.full((40,), torch.inf))
    packed = pack_depthwise_conv2d(*infinite, geometry=g, x_zero_point=0, output=Requantize(9, 5, 200))
    assert (depthwise_conv2d(images(1, 40, 5, 5), packed, None, list(g)) == 5).all()


def test_packed_for_another_isa() -> None:
    g = depthwise(16, 3, 3)
    other = 0 if len(supported_isas()) > 1 else 1
    packed = pack_depthwise_conv2d(*layer(g), geometry=g, x_zero_point=0, output=Requantize(0), isa=other)
    with pytest.raises(InputError, match="another instruction set"):
        depthwise_conv2d(images(1, 16, 9, 9), packed, None, list(g))
