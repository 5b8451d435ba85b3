from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.fold_pool import fold_pool
from graphs import X, Y, arguments_of, calls, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize

FLAT_MAX = [ops.unsqueeze, ops.int8_max_pool2d, ops.squeeze]
FLAT_AVG = [ops.unsqueeze, ops.int8_avg_pool2d, ops.squeeze]
FLAT_ADAPTIVE = [ops.unsqueeze, ops.int8_adaptive_avg_pool2d, ops.squeeze]
IMAGE, SEQUENCE = (2, 3, 9, 10), (2, 3, 11)


@pytest.mark.parametrize(
    ("shape", "pool", "gives"),
    [
        (IMAGE, lambda x: ops.max_pool2d(x, (3, 2), (2, 2), (1, 1), (1, 2), False), [ops.int8_max_pool2d]),
        (IMAGE, lambda x: ops.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), True), [ops.int8_max_pool2d]),
        (SEQUENCE, lambda x: ops.max_pool1d(x, (3,), (2,), (1,), (2,), True), FLAT_MAX),
    ],
)
def test_the_largest_integer_is_the_largest_real(
    shape: tuple[int, ...], pool: Callable[[Any], Any], gives: list[Any]
) -> None:
    run_pass(fold_pool, graph_of(lambda x: ops.quantize(pool(ops.dequantize(x, X)), X)), uint8(*shape), gives=gives)


def test_max_pool_to_other_qparams_stays_float() -> None:
    def build(x: Any) -> Any:
        return ops.quantize(ops.max_pool2d(ops.dequantize(x, X), (2, 2), (2, 2), (0, 0), (1, 1)), Y)

    assert calls(fold_pool(graph_of(build))) == [ops.dequantize, ops.max_pool2d, ops.quantize]


@pytest.mark.parametrize(
    ("shape", "pool", "gives"),
    [
        (IMAGE, lambda x: ops.avg_pool2d(x, (3, 2), (2, 1), (1, 1)), [ops.int8_avg_pool2d]),
        (IMAGE, lambda x: ops.avg_pool2d(x, (3, 3), (2, 2), (1, 1), True, False), [ops.int8_avg_pool2d]),
        (IMAGE, lambda x: ops.avg_pool2d(x, (2, 2), (2, 2), (0, 0), False, True, 3), [ops.int8_avg_pool2d]),
        (SEQUENCE, lambda x: ops.avg_pool1d(x, (3,), (2,), (1,), True, False), FLAT_AVG),
        (IMAGE, lambda x: ops.adaptive_avg_pool2d(x, (4, 3)), [ops.int8_adaptive_avg_pool2d]),
        (IMAGE, lambda x: ops.adaptive_avg_pool2d(x, (None, 3)), [ops.int8_adaptive_avg_pool2d]),
        (SEQUENCE, lambda x: ops.adaptive_avg_pool1d(x, (4,)), FLAT_ADAPTIVE),
        (IMAGE, lambda x: ops.mean(x, (2, 3), True), [ops.int8_adaptive_avg_pool2d]),
        (IMAGE, lambda x: ops.mean(x, (2, 3)), [ops.int8_adaptive_avg_pool2d, ops.flatten]),
        (SEQUENCE, lambda x: ops.mean(x, (2,), True), FLAT_ADAPTIVE),
        (SEQUENCE, lambda x: ops.mean(x, (2,)), [ops.unsqueeze, ops.int8_adaptive_avg_pool2d, ops.flatten]),
    ],
)
def test_averages_are_requantized(shape: tuple[int, ...], pool: Callable[[Any], Any], gives: list[Any]) -> None:
    gm = graph_of(lambda x: ops.quantize(pool(ops.dequantize(x, X)), Y))
    after = run_pass(fold_pool, gm, uint8(*shape), gives=gives, steps=1)
    found = arguments_of(after, next(op for op in gives if op.__name__.startswith("int8")))
    assert found["multiplier"] == torch.tensor(X.scale / Y.scale).item()
    assert (found["x_zero_point"], found["output"]) == (X.zero_point, Requantize(Y.zero_point))


def test_a_mean_of_integers_is_rounded_to_even() -> None:
    gm = fold_pool(graph_of(lambda x: ops.quantize(ops.mean(ops.dequantize(x, X), (2,)), X)))
    x = torch.tensor([[[120, 121], [121, 122], [0, 255]]], dtype=torch.uint8)
    assert gm(x).tolist() == [[120, 122, 128]]
