from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.fold_pad import fold_pad
from graphs import arguments_of, graph_of, int8, run_pass, uint8
from torch import Tensor

from fxquant import ops
from fxquant.qparams import Requantize


def padded(pad: Callable[..., Any], *arguments: Any) -> Any:
    def build(x: Any, w: Any, b: Any, m: Any) -> Any:
        settings = ((1, 2), (1, 0, 2, 0), (1, 1), 1)
        return ops.int8_conv2d(pad(x, *arguments), w, b, m, 120, Requantize(90), *settings)

    return graph_of(build, **parameters())


def parameters() -> dict[str, Tensor]:
    return {"w": int8(4, 3, 3, 3), "b": torch.zeros(4, dtype=torch.int32), "m": torch.full((4,), 1e-3)}


@pytest.mark.parametrize(
    ("amounts", "padding"), [((3, 4, 1, 2), (2, 3, 4, 4)), ((0, 1), (1, 0, 2, 1)), ((0, 0, 2, 0), (3, 0, 2, 0))]
)
def test_zeros_around_the_image_are_the_convolutions_padding(amounts: Any, padding: Any) -> None:
    after = run_pass(fold_pad, padded(ops.int8_pad, amounts, 120), uint8(2, 3, 6, 7), gives=[ops.int8_conv2d])
    assert arguments_of(after, ops.int8_conv2d)["padding"] == padding


@pytest.mark.parametrize(
    ("pad", "arguments"),
    [
        (ops.int8_pad, ((1, 1, 1, 1), 119)),
        (ops.int8_pad, ((-1, 0, 1, 1), 120)),
        (ops.pad, ((1, 1, 1, 1), "reflect")),
    ],
)
def test_other_pads_stay(pad: Any, arguments: Any) -> None:
    run_pass(fold_pad, padded(pad, *arguments), uint8(2, 3, 6, 7), gives=[pad, ops.int8_conv2d])


def test_a_pad_of_other_dimensions_stays() -> None:
    def build(x: Any, **p: Any) -> Any:
        y = ops.int8_pad(x, (0, 0, 0, 0, 1, 0), 120)
        return ops.int8_conv2d(y, *p.values(), 120, Requantize(90), (1, 1), (0, 0, 0, 0), (1, 1), 1)

    run_pass(fold_pad, graph_of(build, **parameters()), uint8(2, 2, 6, 7), gives=[ops.int8_pad, ops.int8_conv2d])
