from __future__ import annotations

from typing import Any

import torch
from fxquant.passes.fold_add import fold_add
from graphs import X, Y, Z, arguments_of, calls, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize

NARROW = Y._replace(quant_min=Y.zero_point)


def test_multipliers_are_the_ratios_of_the_scales() -> None:
    gm = graph_of(lambda a, b: ops.quantize(ops.add(ops.dequantize(a, X), ops.dequantize(b, Z)), NARROW), inputs=2)
    # Two float32 roundings instead of one: at a tie the results may differ by a step.
    after = run_pass(fold_add, gm, uint8(4, 32, 9), uint8(4, 32, 9), gives=[ops.int8_add], steps=1)
    found = arguments_of(after, ops.int8_add)
    assert (found["a_multiplier"], found["b_multiplier"]) == tuple(
        torch.tensor([X.scale / Y.scale, Z.scale / Y.scale]).tolist()
    )
    assert (found["a_zero_point"], found["b_zero_point"]) == (X.zero_point, Z.zero_point)
    assert found["output"] == Requantize(Y.zero_point, Y.zero_point, 255)


def test_equal_scales_are_exact() -> None:
    gm = graph_of(lambda a, b: ops.quantize(ops.add(ops.dequantize(a, X), ops.dequantize(b, X)), X), inputs=2)
    codes = torch.arange(256, dtype=torch.uint8)
    after = run_pass(fold_add, gm, codes[:, None], codes[None], gives=[ops.int8_add])
    a, b = codes[:, None].int(), codes[None].int()
    assert torch.equal(after(codes[:, None], codes[None]).int(), (a + b - X.zero_point).clamp(0, 255))


def test_a_float_operand_keeps_the_add_float() -> None:
    def build(a: Any, b: Any) -> Any:
        return ops.quantize(ops.add(ops.dequantize(a, X), b), Y)

    assert calls(fold_add(graph_of(build, inputs=2))) == [ops.dequantize, ops.add, ops.quantize]
