"""Activations written out become the op that they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.normalize_activations import normalize_activations
from graphs import calls, graph_of
from torch import Tensor

from fxquant import ops


def relu6(x: Any) -> Any:
    return ops.clamp(ops.add(x, 3), 0.0, 6.0)


def half_of_tanh(x: Any, u: Any) -> Any:
    return ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(u), 1.0))


def new_gelu(x: Any, cubic: float = 0.044715) -> Any:
    cube = ops.mul(ops.pow(x, 3), cubic)
    return half_of_tanh(x, ops.mul(ops.add(x, cube), math.sqrt(2 / math.pi)))


def fast_gelu(x: Any) -> Any:
    squares = ops.mul(ops.mul(x, 0.044715), x)
    return half_of_tanh(x, ops.mul(ops.mul(x, 0.7978845608), ops.add(squares, 1.0)))


WRITTEN_OUT: dict[str, tuple[Callable[[Any], Any], Callable[[Tensor], Tensor]]] = {
    "silu": (lambda x: ops.mul(x, ops.sigmoid(x)), ops.silu),
    "silu, other order": (lambda x: ops.mul(ops.sigmoid(x), x), ops.silu),
    "hardsigmoid": (lambda x: ops.div(relu6(x), 6), ops.hardsigmoid),
    "hardswish": (lambda x: ops.mul(x, ops.div(relu6(x), 6)), ops.hardswish),
    "hardswish, divided last": (lambda x: ops.div(ops.mul(x, relu6(x)), 6), ops.hardswish),
    "hardswish of hardsigmoid": (lambda x: ops.mul(ops.hardsigmoid(x), x), ops.hardswish),
    "gelu by tanh": (new_gelu, ops.gelu),
    "gelu by tanh of squares": (fast_gelu, ops.gelu),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_it_becomes_one_op_that_computes_the_same(name: str) -> None:
    written, op = WRITTEN_OUT[name]
    x = torch.linspace(-8, 8, 1001)
    gm = normalize_activations(graph_of(written))
    assert calls(gm) == [op]
    torch.testing.assert_close(gm(x), graph_of(written)(x))


@pytest.mark.parametrize(
    "other",
    [
        lambda x: ops.mul(x, ops.sigmoid(ops.mul(x, 1.7))),
        lambda x: new_gelu(x, 0.05),
        lambda x: ops.div(ops.clamp(ops.add(x, 2), 0.0, 6.0), 6),
        lambda x: ops.div(ops.clamp(ops.add(x, 3), 0.0, 5.0), 6),
    ],
)
def test_what_only_looks_alike_stays(other: Callable[[Any], Any]) -> None:
    assert calls(normalize_activations(graph_of(other))) == calls(graph_of(other))
