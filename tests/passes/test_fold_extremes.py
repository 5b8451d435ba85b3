from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.fold_extremes import fold_extremes
from graphs import X, Y, Z, arguments_of, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize


@pytest.mark.parametrize(("extreme", "int8"), [(ops.maximum, ops.int8_maximum), (ops.minimum, ops.int8_minimum)])
def test_an_extreme_of_two_scales(extreme: Any, int8: Any) -> None:
    gm = graph_of(lambda a, b: ops.quantize(extreme(ops.dequantize(a, X), ops.dequantize(b, Z)), Y), inputs=2)
    after = run_pass(fold_extremes, gm, uint8(2, 3, 5), uint8(5), gives=[int8], steps=1)
    found = arguments_of(after, int8)
    assert found["a_multiplier"] == torch.tensor(X.scale / Y.scale).item()
    assert found["b_multiplier"] == torch.tensor(Z.scale / Y.scale).item()
    assert (found["a_zero_point"], found["b_zero_point"]) == (X.zero_point, Z.zero_point)
    assert found["output"] == Requantize(Y.zero_point)
