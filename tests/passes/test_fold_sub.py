from __future__ import annotations

from typing import Any

import torch
from fxquant.passes.fold_sub import fold_sub
from graphs import X, Y, Z, arguments_of, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize


def test_a_difference_is_a_sum_with_the_second_scale_negated() -> None:
    gm: Any = graph_of(lambda a, b: ops.quantize(ops.sub(ops.dequantize(a, X), ops.dequantize(b, Z)), Y), inputs=2)
    after = run_pass(fold_sub, gm, uint8(2, 3, 5), uint8(2, 3, 5), gives=[ops.int8_add], steps=1)
    found = arguments_of(after, ops.int8_add)
    assert found["a_multiplier"] == torch.tensor(X.scale / Y.scale).item()
    assert found["b_multiplier"] == -torch.tensor(Z.scale / Y.scale).item()
    assert (found["a_zero_point"], found["b_zero_point"]) == (X.zero_point, Z.zero_point)
    assert found["output"] == Requantize(Y.zero_point)
