from __future__ import annotations

from typing import Any

import torch
from fxquant.passes.fold_div import fold_div
from graphs import X, Y, Z, arguments_of, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize


def test_a_quotient_of_integers() -> None:
    gm: Any = graph_of(lambda a, b: ops.quantize(ops.div(ops.dequantize(a, X), ops.dequantize(b, Z)), Y), inputs=2)
    divisor = torch.tensor([[60, 100, 139, 141, 200, 255]], dtype=torch.uint8)  # around the zero point, 140
    after = run_pass(fold_div, gm, uint8(6, 6), divisor, gives=[ops.int8_div], steps=1)
    found = arguments_of(after, ops.int8_div)
    assert found["multiplier"] == torch.tensor(X.scale / (Z.scale * Y.scale)).item()
    assert (found["a_zero_point"], found["b_zero_point"]) == (X.zero_point, Z.zero_point)
    assert found["output"] == Requantize(Y.zero_point)
