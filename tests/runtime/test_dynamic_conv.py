"""Dynamic convolutions of all kinds: programs and layers give what the op means, bit for bit."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
import torch
from programs import assert_program_computes
from torch import Tensor

from fxquant import ops
from fxquant.errors import InputError
from fxquant.qparams import Dynamic, FloatOutput
from fxquant.runtime.layers import DynamicConvTranspose2d


def random_case(random: Random, dims: int, transposed: bool) -> tuple[Tensor, dict[str, Any]]:
    groups = random.choice((1, 1, 2, 3))
    inputs, outputs = groups * random.choice((1, 2, 17)), groups * random.choice((1, 4, 16))
    if random.random() < 0.2:  # depthwise
        inputs = outputs = groups = random.choice((5, 16, 70))
    kernel, stride, dilation = (tuple(random.choice(o) for _ in range(dims)) for o in ((1, 2, 3), (1, 1, 2), (1, 1, 2)))
    padding = tuple(random.choice((0, k // 2)) for k in kernel)
    sizes = [d * (k - 1) + 1 + random.randint(0, 5) for d, k in zip(dilation, kernel, strict=True)]
    x = torch.randn(random.choice((1, 3)), inputs, *sizes) + random.choice((0.0, 2.0, -3.0))
    if random.random() < 0.5:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    weight = torch.randint(-128, 128, (outputs, inputs // groups, *kernel), dtype=torch.int8)
    constants: dict[str, Any] = {
        "weight": weight,
        "multiplier": torch.rand(outputs) * 0.01,
        "bias": torch.randn(outputs),
        "dynamic": Dynamic(random.random() < 0.7, *random.choice(((0, 255), (0, 127)))),
        "output": FloatOutput(random.choice((-math.inf, 0.0)), random.choice((math.inf, 6.0))),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    if transposed:
        more = tuple(random.choice((0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
        constants["output_padding"] = more
    return x, constants


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("op", "dims", "transposed"),
    [
        (ops.dynamic_conv2d, 2, False),
        (ops.dynamic_conv3d, 3, False),
        (ops.dynamic_conv_transpose2d, 2, True),
        (ops.dynamic_conv_transpose3d, 3, True),
    ],
)
def test_the_program_is_the_op(op: Any, dims: int, transposed: bool, seed: int) -> None:
    x, constants = random_case(Random(seed), dims, transposed)
    assert_program_computes(op, x, **constants)


def test_an_input_that_does_not_fit_is_told() -> None:
    constants = random_case(Random(1), 2, True)[1]
    layer, channels = DynamicConvTranspose2d(constants), constants["weight"].shape[1] * constants["groups"]
    with pytest.raises(InputError, match=f"of {channels} channels"):
        layer(torch.randn(1, channels + 1, 8, 8))
    with pytest.raises(InputError, match="a float32 tensor, not torch\\.float64"):
        layer(torch.randn(1, channels, 8, 8).double())
