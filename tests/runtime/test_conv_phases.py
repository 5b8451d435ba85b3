"""Convolutions of volumes and transposed ones: the programs of 2-D kernels give what the integer op means."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from graphs import int8, uint8
from programs import assert_program_computes, random_weights, residual_of
from regions import quantized
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import ops
from fxquant.errors import InputError
from fxquant.qparams import Requantize
from fxquant.runtime.layers import Int8Conv3d, Int8ConvTranspose2d
from fxquant.runtime.phases import of_conv, of_transposed
from fxquant.runtime.region import Int8Region


def torch_memory(random: Random, x: Tensor) -> Tensor:
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return x.contiguous(memory_format=last) if random.random() < 0.7 else x


def channels(random: Random) -> tuple[int, int, int]:
    groups = random.choice((1, 1, 1, 2, 3))
    if random.random() < 0.3:  # depthwise
        groups = random.choice((2, 5, 16, 70))
        return groups, groups, groups
    inputs, outputs = groups * random.choice((1, 2, 3, 17)), groups * random.choice((1, 1, 4, 16))
    return groups, inputs, outputs


@pytest.mark.parametrize("seed", range(40))
def test_a_convolution_of_volumes(seed: int) -> None:
    random = Random(seed)
    groups, inputs, outputs = channels(random)
    kernel, stride, dilation = (tuple(random.choice(o) for _ in range(3)) for o in ((1, 2, 3), (1, 1, 2), (1, 1, 2)))
    padding = tuple(random.choice((0, k // 2, 2)) for k in kernel)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    x = torch_memory(random, uint8(random.choice((1, 2)), inputs, *(r + random.randint(0, 5) for r in reach)))
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shape = (inputs // groups, *kernel)
    weights = random_weights(random, outputs, torch.Size(shape).numel(), shape)
    y = ops.int8_conv3d(x, **weights, **settings)
    residual, params = residual_of(random, y)
    assert_program_computes(ops.int8_conv3d, x, *residual, **weights, **settings, **params)


def test_a_depthwise_convolution_of_volumes_stays_depthwise() -> None:
    model = nn.Sequential(nn.Conv3d(6, 6, 3, padding=1, groups=6), nn.ConvTranspose3d(6, 6, 3, 2, groups=6))
    x = torch.randn(2, 6, 4, 5, 6)
    [region] = [m for m in quantized(model, x).modules() if isinstance(m, Int8Region)]
    kernels = [call.kernel for call in region.plan(x).calls]
    assert "depthwise_conv2d" in kernels
    assert "conv2d" not in kernels


def transposed(random: Random, dims: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Settings, and a size of the input for which there is an output."""
    kernel, stride, dilation = (
        tuple(random.choice(o) for _ in range(dims)) for o in ((1, 2, 3, 4), (1, 2, 3), (1, 1, 2, 3))
    )
    output_padding = tuple(random.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True))
    padding = tuple(random.choice((0, 1, k // 2, 3)) for k in kernel)
    smallest = [
        next(n for n in range(1, 99) if (n - 1) * s - 2 * p + d * (k - 1) + o + 1 > 0)
        for k, s, d, p, o in zip(kernel, stride, dilation, padding, output_padding, strict=True)
    ]
    settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return {"kernel": kernel, **settings}, tuple(n + random.randint(0, 4) for n in smallest)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(60))
def test_a_transposed_convolution(dims: int, seed: int) -> None:
    random = Random(100 * dims + seed)
    groups, inputs, outputs = channels(random)
    settings, size = transposed(random, dims)
    shape = (inputs // groups, *settings.pop("kernel"))
    x = torch_memory(random, uint8(random.choice((1, 2)), inputs, *size))
    weights = random_weights(random, outputs, torch.Size(shape).numel(), shape)
    op = {2: ops.int8_conv_transpose2d, 3: ops.int8_conv_transpose3d}[dims]
    y = op(x, **weights, **settings, groups=groups)
    residual, params = residual_of(random, y)
    assert_program_computes(op, x, *residual, **weights, **settings, groups=groups, **params)


def test_an_output_that_no_tap_reaches_is_the_bias() -> None:
    constants = {
        "weight": int8(3, 2, 1, 1),
        "bias": torch.tensor([0, 1000, -2000], dtype=torch.int32),
        "multiplier": torch.full((3,), 0.01),
        "x_zero_point": 7,
        "output": Requantize(100),
        "stride": (2, 2),
        "padding": (0, 0),
        "output_padding": (1, 1),
        "groups": 1,
        "dilation": (1, 1),
    }
    y = Int8ConvTranspose2d(constants)(uint8(1, 2, 3, 3))
    assert y[0, :, 1::2].flatten(1).unique(dim=1).tolist() == [[100], [110], [80]]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (5, 2, 0, 2), (1, 3, 0, 1)])
def test_a_convolution_has_one_phase(kernel: int, stride: int, padding: int, dilation: int) -> None:
    [phase] = of_conv(kernel, stride, padding, dilation)
    x, w = torch.randn(1, 1, 20), torch.randn(1, 1, kernel)
    expected = F.conv1d(x, w, None, stride, padding, dilation)[0, 0]
    assert torch.allclose(_computed(phase, x[0, 0], w[0, 0]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra", "dilation"), [(4, 2, 1, 0, 1), (3, 3, 1, 2, 2), (2, 3, 2, 1, 1)]
)
def test_the_phases_of_a_transposed_convolution_are_its_outputs(
    kernel: int, stride: int, padding: int, extra: int, dilation: int
) -> None:
    x, w = torch.randn(7), torch.randn(kernel)
    expected = F.conv_transpose1d(x[None, None], w[None, None], None, stride, padding, extra, 1, dilation)[0, 0]
    for phase in of_transposed(kernel, stride, padding, extra, dilation):
        assert torch.allclose(_computed(phase, x, w), expected[phase.start :: phase.step], atol=1e-5)


def _computed(phase: Any, x: Tensor, w: Tensor) -> Tensor:
    def at(position: int) -> Tensor:
        return x[position] if 0 <= position < len(x) else torch.zeros(())

    def output(j: int) -> Tensor:
        first = j * phase.stride - phase.before
        return sum((w[k] * at(first + t * phase.dilation) for t, k in enumerate(phase.taps)), torch.zeros(()))

    return torch.stack([output(j) for j in range(phase.outputs(len(x)))])


@pytest.mark.parametrize(
    ("x", "message"),
    [(uint8(1, 5, 4, 4, 4), "of 6 channels"), (uint8(1, 6, 4, 4), "5 dimensions"), (uint8(1, 6, 1, 4, 4), "no output")],
)
def test_what_does_not_fit_is_said(x: Tensor, message: str) -> None:
    layer = Int8Conv3d(
        {
            "weight": int8(4, 6, 2, 2, 2),
            "bias": torch.zeros(4, dtype=torch.int32),
            "multiplier": torch.ones(4),
            "x_zero_point": 3,
            "output": Requantize(9),
            "stride": (1, 1, 1),
            "padding": (0, 0, 0),
            "dilation": (1, 1, 1),
            "groups": 1,
        }
    )
    with pytest.raises(InputError, match=message):
        layer(x)
