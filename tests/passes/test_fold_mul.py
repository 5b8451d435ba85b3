from __future__ import annotations

import torch
from fxquant.passes.fold_mul import fold_mul
from graphs import X, Y, Z, arguments_of, calls, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize


def test_the_multiplier_holds_all_three_scales() -> None:
    gm = graph_of(lambda a, b: ops.quantize(ops.mul(ops.dequantize(a, X), ops.dequantize(b, Z)), Y), inputs=2)
    # The reference rounds both factors to float32 before it multiplies: at a tie the results may differ by a step.
    after = run_pass(fold_mul, gm, uint8(4, 32, 9, 5), uint8(4, 32, 1, 1), gives=[ops.int8_mul], steps=1)
    found = arguments_of(after, ops.int8_mul)
    assert found["multiplier"] == torch.tensor(X.scale * Z.scale / Y.scale).item()
    assert (found["a_zero_point"], found["b_zero_point"]) == (X.zero_point, Z.zero_point)
    assert found["output"] == Requantize(Y.zero_point, 0, 255)


def test_a_square_is_a_product() -> None:
    gm = graph_of(lambda a: ops.quantize(ops.mul(ops.dequantize(a, X), ops.dequantize(a, X)), X))
    after = run_pass(fold_mul, gm, uint8(500), gives=[ops.int8_mul], steps=1)
    assert after(torch.tensor([X.zero_point, X.zero_point + 20], dtype=torch.uint8)).tolist() == [120, 140]


def test_a_product_with_a_number_is_none_of_its_business() -> None:
    after = fold_mul(graph_of(lambda a: ops.quantize(ops.mul(ops.dequantize(a, X), 0.5), Y)))
    assert calls(after) == [ops.dequantize, ops.mul, ops.quantize]
