from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fxquant.passes.fold_shape import fold_shape
from graphs import X, calls, graph_of, uint8

from fxquant import ops


@pytest.mark.parametrize(
    ("ask", "target", "answer"),
    [
        (lambda x: x.size(0), "size", 2),
        (lambda x: x.dim(), "dim", 3),
        (lambda x: x.numel(), "numel", 24),
        (lambda x: x.shape, getattr, (2, 3, 4)),
        (lambda x: x.ndim, getattr, 3),
    ],
)
def test_the_integers_know_the_shape(ask: Callable[[Any], Any], target: Any, answer: Any) -> None:
    gm = fold_shape(graph_of(lambda x: ask(ops.dequantize(x, X)) + answer))
    assert calls(gm)[0] == target
    assert ops.dequantize not in calls(gm)
    assert gm(uint8(2, 3, 4)) == answer + answer


def test_other_attributes_ask_for_the_reals() -> None:
    gm = fold_shape(graph_of(lambda x: ops.dequantize(x, X).dtype))
    assert calls(gm) == [ops.dequantize, getattr]
