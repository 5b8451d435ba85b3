"""Sizes that weights decide are numbers, however they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import Written, node_of
from torch import Tensor, nn

from fxquant import ops
from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace


@pytest.mark.parametrize(
    "split",
    [
        lambda y: y.view(y.shape[0], y.shape[1], 4, -1),
        lambda y: y.view(*y.shape[:2], 4, -1),
        lambda y: y.view(*y.shape[:-1], 4, -1),
        lambda y: y.view(*y.size()[0:2], 4, -1),
        lambda y: y.view((*y.shape[:-1], 4, y.shape[-1:][0] // 4)),
    ],
)
def test_the_features_of_a_head(split: Callable[[Tensor], Tensor]) -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        y = split(m.linear(x))
        return y / math.sqrt(y.shape[-1])

    model, x = Written(code, linear=nn.Linear(8, 64)), torch.randn(2, 3, 8)
    gm = run_stage(trace(model, (x,)), "normalize")
    assert node_of(gm, ops.div).args[1] == 4.0
    more = torch.randn(5, 7, 8)
    torch.testing.assert_close(gm(more), model(more))


@pytest.mark.parametrize("index", [slice(None, 2), slice(-2, None), slice(1, 3)])
def test_sizes_of_the_input_stay_open(index: slice) -> None:
    model = Written(lambda m, x: x * sum(x.shape[index]))
    x, more = torch.randn(2, 3, 4), torch.randn(5, 6, 7)
    torch.testing.assert_close(run_stage(trace(model, (x,)), "normalize")(more), model(more))
