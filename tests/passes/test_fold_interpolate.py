from __future__ import annotations

from typing import Any

import pytest
from fxquant.passes.fold_interpolate import fold_interpolate
from graphs import X, Y, arguments_of, calls, graph_of, run_pass, uint8

from fxquant import ops


@pytest.mark.parametrize("target", [((7, 19), None), (None, (2.0, 1.5)), ((3, 4), None)])
def test_nearest_is_exact(target: tuple[Any, Any]) -> None:
    gm = graph_of(lambda x: ops.quantize(ops.interpolate(ops.dequantize(x, X), *target, "nearest"), X))
    after = run_pass(fold_interpolate, gm, uint8(2, 3, 6, 8), gives=[ops.int8_interpolate_nearest])
    found = arguments_of(after, ops.int8_interpolate_nearest)
    assert (found["size"], found["scale"]) == target


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("target", [((7, 19), None), (None, (2.0, 1.5))])
def test_bilinear_is_within_a_step(target: tuple[Any, Any], corners: bool) -> None:
    gm = graph_of(lambda x: ops.quantize(ops.interpolate(ops.dequantize(x, X), *target, "bilinear", corners), X))
    after = run_pass(fold_interpolate, gm, uint8(2, 3, 6, 8), gives=[ops.int8_interpolate_bilinear], steps=1)
    found = arguments_of(after, ops.int8_interpolate_bilinear)
    assert (found["align_corners"], found["x_zero_point"]) == (corners, X.zero_point)


def test_to_other_qparams_it_stays_float() -> None:
    after = fold_interpolate(graph_of(lambda x: ops.quantize(ops.interpolate(ops.dequantize(x, X), (2, 2)), Y)))
    assert calls(after) == [ops.dequantize, ops.interpolate, ops.quantize]
