from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.fold_linear import fold_linear
from graphs import X, Y, Z, arguments_of, calls, graph_of, int8, run_pass, uint8, weight_qparams
from torch.fx import GraphModule

from fxquant import ops
from fxquant.qparams import Requantize, Residual

SCALE = torch.tensor([0.002, 0.001, 0.004])
BIAS = torch.tensor([0.5, -1.0, 0.0])


def real(x: Any, w: Any, scale: Any, b: Any = None) -> Any:
    return ops.linear(ops.dequantize(x, X), ops.dequantize(w, weight_qparams(scale)), b)


def tensor(gm: GraphModule, name: str) -> torch.Tensor:
    return gm.get_buffer(arguments_of(gm, ops.int8_linear)[name].target)


def test_a_linear_becomes_integers() -> None:
    gm = graph_of(lambda x, **p: ops.quantize(real(x, **p), Y), w=int8(3, 16), scale=SCALE, b=BIAS)
    after = run_pass(fold_linear, gm, uint8(5, 4, 16), gives=[ops.int8_linear], steps=1)
    found = arguments_of(after, ops.int8_linear)
    assert (found["x_zero_point"], found["output"]) == (X.zero_point, Requantize(Y.zero_point, 0, 255))
    assert tensor(after, "bias").tolist() == [5000, -20000, 0]
    assert tensor(after, "weight").dtype is torch.int8
    torch.testing.assert_close(tensor(after, "multiplier"), X.scale * SCALE / Y.scale, rtol=1e-6, atol=0)
    assert sorted(after.state_dict()) == ["bias", "multiplier", "weight"]


def test_one_scale_serves_every_output() -> None:
    gm = graph_of(lambda x, w, b: ops.quantize(real(x, w, 0.002, b), Y), w=int8(3, 16), b=BIAS)
    after = run_pass(fold_linear, gm, uint8(5, 16), gives=[ops.int8_linear], steps=1)
    assert tensor(after, "bias").tolist() == [5000, -10000, 0]
    assert len(tensor(after, "multiplier").unique()) == 1


def test_without_a_bias_it_is_zero() -> None:
    gm = graph_of(lambda x, w, scale: ops.quantize(real(x, w, scale), Y), w=int8(3, 16), scale=SCALE)
    after = run_pass(fold_linear, gm, uint8(5, 16), gives=[ops.int8_linear], steps=1)
    assert tensor(after, "bias").tolist() == [0, 0, 0]


@pytest.mark.parametrize("first", [True, False])
def test_the_residual_joins_the_sum_before_its_rounding(first: bool) -> None:
    def build(x: Any, r: Any, **p: Any) -> Any:
        y, residual = real(x, **p), ops.dequantize(r, Z)
        return ops.quantize(ops.add(y, residual) if first else ops.add(residual, y), Y)

    gm = graph_of(build, inputs=2, w=int8(3, 16), scale=SCALE, b=BIAS)
    after = run_pass(fold_linear, gm, uint8(5, 16), uint8(5, 3), gives=[ops.int8_linear], steps=1)
    found = arguments_of(after, ops.int8_linear)
    assert found["residual"].name == "x1"
    assert found["residual_params"] == Residual(Z.zero_point, torch.tensor(Z.scale / Y.scale).item())


def test_a_computed_weight_is_refused() -> None:
    gm = graph_of(lambda x, w: ops.quantize(real(x, w, 0.002), Y), inputs=2)
    before = calls(gm)
    after = fold_linear(gm)
    assert calls(after) == before
    (refusals,) = [node.meta["refusals"] for node in after.graph.nodes if "refusals" in node.meta]
    assert refusals == ["Linear: x1 is computed, not a parameter or buffer"]
