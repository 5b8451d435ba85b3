from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.fold_lookup import fold_lookup
from graphs import X, Y, Z, calls, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import CODES

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": ops.sigmoid,
    "hardsigmoid": ops.hardsigmoid,
    "tanh": ops.tanh,
    "hardswish": ops.hardswish,
    "silu": ops.silu,
    "gelu": lambda x: ops.gelu(x, "tanh"),
    "elu": lambda x: ops.elu(x, 0.7),
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.2),
    "mish": ops.mish,
    "relu": ops.relu,
    "clamp": lambda x: ops.clamp(x, -1.0, 2.0),
    "add": lambda x: ops.add(x, 0.33),
    "mul": lambda x: ops.mul(x, -1.7),
    "sub": lambda x: ops.sub(1.0, x),
    "div": lambda x: ops.div(x, 3.0),
    "1 / x": lambda x: ops.div(1.0, x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_code_is_exact(name: str) -> None:
    gm = graph_of(lambda x: ops.quantize(FUNCTIONS[name](ops.dequantize(x, X)), Y))
    after = run_pass(fold_lookup, gm, CODES.reshape(4, 64), gives=[ops.lookup])
    assert after.state_dict()["table"].shape == (256,)


@pytest.mark.parametrize("channels", [1, 3])
def test_prelu_has_a_table_for_each_of_its_weights(channels: int) -> None:
    weight = torch.tensor([0.1, -0.5, 2.0][:channels])
    gm = graph_of(lambda x, weight: ops.quantize(ops.prelu(ops.dequantize(x, X), weight), Y), weight=weight)
    after = run_pass(fold_lookup, gm, uint8(5, 3, 20), gives=[ops.lookup])
    ((_, table),) = after.state_dict().items()
    assert table.shape == ((256,) if channels == 1 else (3, 256))


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: ops.quantize(ops.mul(ops.dequantize(x, X), ops.dequantize(y, Z)), Y),
        lambda x, y: ops.quantize(ops.softmax(ops.dequantize(x, X), 1), Y),
        lambda x, y: ops.quantize(ops.sigmoid(x), Y),
    ],
)
def test_what_depends_on_more_than_one_code_stays(build: Callable[..., Any]) -> None:
    gm = graph_of(build, inputs=2)
    before = calls(gm)
    assert calls(fold_lookup(gm)) == before


def test_a_function_whose_float_value_is_read_stays() -> None:
    def build(x: Any) -> Any:
        y = ops.sigmoid(ops.dequantize(x, X))
        return ops.quantize(y, Y), y

    assert calls(fold_lookup(graph_of(build))) == [ops.dequantize, ops.sigmoid, ops.quantize]


def test_a_chain_of_functions_is_one_table() -> None:
    gm = graph_of(lambda x: ops.quantize(ops.relu(ops.sub(1.0, ops.silu(ops.dequantize(x, X)))), Y))
    run_pass(fold_lookup, gm, CODES.reshape(4, 64), gives=[ops.lookup])


def test_a_batch_norm_and_its_relu_are_one_table_a_channel() -> None:
    statistics = {"mean": torch.tensor([0.5, -1.0, 0.0]), "var": torch.tensor([1.0, 4.0, 0.25])}

    def build(x: Any, mean: Any, var: Any) -> Any:
        return ops.quantize(ops.relu(ops.batch_norm(ops.dequantize(x, X), mean, var)), Y)

    after = run_pass(fold_lookup, graph_of(build, **statistics), uint8(5, 3, 20), gives=[ops.lookup], steps=1)
    assert after.state_dict()["table"].shape == (3, 256)


def test_a_chain_is_one_table() -> None:
    def build(x: Any, weight: Any) -> Any:
        return ops.quantize(ops.mul(ops.prelu(ops.add(ops.dequantize(x, X), 0.4), weight), -1.5), Y)

    gm = graph_of(build, weight=torch.tensor([0.1, -0.5, 2.0]))
    after = run_pass(fold_lookup, gm, uint8(5, 3, 20), gives=[ops.lookup])
    assert [tensor.shape for tensor in after.state_dict().values()] == [(3, 256)]


def test_a_chain_whose_middle_is_read_stays() -> None:
    def build(x: Any) -> Any:
        y = ops.add(ops.dequantize(x, X), 0.4)
        return ops.quantize(ops.sigmoid(y), Y), y

    assert calls(fold_lookup(graph_of(build))) == [ops.dequantize, ops.add, ops.sigmoid, ops.quantize]
