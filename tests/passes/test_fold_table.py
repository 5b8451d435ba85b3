from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.fold_table import fold_table
from graphs import calls, graph_of, node_of, run_pass, uint8
from torch import Tensor

from fxquant import ops
from fxquant.qparams import Requantize


def linear(x: Any, weight: Any, bias: Any, multiplier: Any, **more: Any) -> Any:
    return ops.int8_linear(x, weight, bias, multiplier, 7, Requantize(100), **more)


def conv(x: Any, weight: Any, bias: Any, multiplier: Any, **more: Any) -> Any:
    return ops.int8_conv2d(x, weight, bias, multiplier, 7, Requantize(100), (1, 1), (1, 1, 1, 1), (1, 1), 1, **more)


def parameters(*kernel: int) -> dict[str, Tensor]:
    return {
        "weight": torch.randint(-128, 128, (4, 3, *kernel), dtype=torch.int8),
        "bias": torch.randint(-999, 999, (4,), dtype=torch.int32),
        "multiplier": torch.rand(4) / 100,
    }


@pytest.mark.parametrize(
    ("op", "call", "kernel", "shape"),
    [(ops.int8_linear, linear, (), (5, 3)), (ops.int8_conv2d, conv, (3, 3), (2, 3, 5, 6))],
)
def test_the_table_joins_the_epilogue(op: Any, call: Any, kernel: tuple[int, ...], shape: tuple[int, ...]) -> None:
    gm = graph_of(lambda x, table, **p: ops.lookup(call(x, **p), table), table=uint8(256), **parameters(*kernel))
    after = run_pass(fold_table, gm, uint8(*shape), gives=[op])
    assert node_of(after, op).args[-1].target == "table"


def test_a_table_a_channel_stays() -> None:
    gm = graph_of(lambda x, table, **p: ops.lookup(linear(x, **p), table), table=uint8(4, 256), **parameters())
    run_pass(fold_table, gm, uint8(5, 3), gives=[ops.int8_linear, ops.lookup])


def test_a_second_table_stays() -> None:
    def build(x: Any, table: Any, **p: Any) -> Any:
        return ops.lookup(linear(x, **p, table=table), table)

    gm = graph_of(build, table=uint8(256), **parameters())
    run_pass(fold_table, gm, uint8(5, 3), gives=[ops.int8_linear, ops.lookup])


def test_a_value_that_others_read_stays() -> None:
    def build(x: Any, table: Any, **p: Any) -> Any:
        y = linear(x, **p)
        return ops.lookup(y, table), y

    assert calls(fold_table(graph_of(build, table=uint8(256), **parameters()))) == [ops.int8_linear, ops.lookup]
