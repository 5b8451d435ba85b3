"""Pools of volumes and adaptive maxima: the programs of 2-D kernels give what the integer op means."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from graphs import uint8
from programs import assert_program_computes
from torch import Tensor

from fxquant import ops
from fxquant.errors import InputError
from fxquant.qparams import Requantize
from fxquant.runtime.layers import Int8AdaptiveAvgPool3d, Int8MaxPool3d

AVERAGE = {"multiplier": 0.83, "x_zero_point": 117, "output": Requantize(90, 2, 250)}


def volumes(random: Random, size: Any) -> Tensor:
    x = uint8(random.choice((1, 2)), random.choice((1, 3, 20)), *size)
    return x.contiguous(memory_format=torch.channels_last_3d) if random.random() < 0.7 else x


def windows(random: Random) -> tuple[dict[str, Any], list[int]]:
    kernel = tuple(random.choice((1, 2, 3, 4)) for _ in range(3))
    settings = {
        "kernel_size": kernel,
        "stride": tuple(random.choice((1, 2, 3)) for _ in range(3)),
        "padding": tuple(random.choice((0, k // 2)) for k in kernel),
        "ceil_mode": random.random() < 0.5,
    }
    return settings, [k + random.randint(0, 5) for k in kernel]


@pytest.mark.parametrize("seed", range(40))
def test_maxima(seed: int) -> None:
    random = Random(seed)
    settings, size = windows(random)
    dilation = tuple(random.choice((1, 1, 2)) for _ in range(3))
    size = [d * n for d, n in zip(dilation, size, strict=True)]
    assert_program_computes(ops.int8_max_pool3d, volumes(random, size), **settings, dilation=dilation)


@pytest.mark.parametrize("seed", range(60))
def test_averages(seed: int) -> None:
    random = Random(seed)
    settings, size = windows(random)
    settings |= {"count_include_pad": random.random() < 0.5, "divisor_override": random.choice((None, None, 7))}
    assert_program_computes(ops.int8_avg_pool3d, volumes(random, size), **settings, **AVERAGE)


@pytest.mark.parametrize("output_size", [(1, 1, 1), (2, 3, 4), (5, 1, 3), (3, 7, 9), (None, 2, 2), (9, 8, 11)])
def test_adaptive_pools(output_size: Any) -> None:
    random = Random(str(output_size))
    for _ in range(3):
        x = volumes(random, (5, 7, 9))
        assert_program_computes(ops.int8_adaptive_avg_pool3d, x, output_size=output_size, **AVERAGE)
        assert_program_computes(ops.int8_adaptive_max_pool3d, x, output_size=output_size)


@pytest.mark.parametrize("output_size", [(1, 1), (2, 3), (7, 9), (None, 4), (8, 2)])
def test_adaptive_maxima_of_images(output_size: Any) -> None:
    assert_program_computes(ops.int8_adaptive_max_pool2d, uint8(2, 5, 7, 9), output_size=output_size)


def test_what_gives_no_output_is_said() -> None:
    settings = {"stride": (1, 1, 1), "padding": (0, 0, 0), "dilation": (1, 1, 1), "ceil_mode": False}
    with pytest.raises(InputError, match="gives no output"):
        Int8MaxPool3d({"kernel_size": (2, 2, 3), **settings})(uint8(1, 2, 2, 2, 2))
    with pytest.raises(InputError, match="volumes"):
        Int8MaxPool3d({"kernel_size": (2, 2, 3), **settings})(uint8(2, 2, 2, 2))
    with pytest.raises(InputError, match="gives no output of size"):
        Int8AdaptiveAvgPool3d({"output_size": (1, 1, 1), **AVERAGE})(uint8(2, 2, 2, 2))
