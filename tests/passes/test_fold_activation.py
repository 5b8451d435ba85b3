from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.fold_activation import fold_activation
from graphs import Y, calls, graph_of, node_of, run_pass

from fxquant import ops

REALS = torch.cat([torch.linspace(-5, 7, 2001), torch.tensor([0.0, 1e30, -1e30, 0.015, 0.045])])


@pytest.mark.parametrize(
    ("activation", "quant_min", "quant_max"),
    [
        (ops.relu, 90, 255),
        (lambda x: ops.clamp(x, -0.3, 0.6), 80, 110),
        (lambda x: ops.clamp(x, None, 0.6), 0, 110),
        (lambda x: ops.clamp(x, 0.6, None), 110, 255),
        (lambda x: ops.clamp(x, -90.0, 90.0), 0, 255),
        (lambda x: ops.clamp(x, 0.6, -0.3), 80, 80),
        (lambda x: ops.clamp(ops.relu(x), -0.3, 0.6), 90, 110),
    ],
)
def test_the_bounds_of_the_quantize_take_over(activation: Callable[[Any], Any], quant_min: int, quant_max: int) -> None:
    gm = graph_of(lambda x: ops.quantize(activation(x), Y))
    after = run_pass(fold_activation, gm, REALS, gives=[ops.quantize])
    assert node_of(after, ops.quantize).args[1] == Y._replace(quant_min=quant_min, quant_max=quant_max)


def test_an_activation_that_others_read_stays() -> None:
    def build(x: Any) -> Any:
        positive = ops.relu(x)
        return ops.quantize(positive, Y), positive

    assert calls(fold_activation(graph_of(build))) == [ops.relu, ops.quantize]


def test_computed_bounds_are_refused() -> None:
    after = fold_activation(graph_of(lambda x, low: ops.quantize(ops.clamp(x, low, None), Y), inputs=2))
    assert calls(after) == [ops.clamp, ops.quantize]
    refusals = node_of(after, ops.quantize).meta["refusals"]
    assert refusals == ["Clamp: the bounds are computed, not constant"]
