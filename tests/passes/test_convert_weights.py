from __future__ import annotations

import pytest
import torch
from fxquant.passes.convert_weights import convert_weights
from fxquant.passes.observe_weights import observe_weights
from graphs import Written, annotated, calls, node_of
from torch import nn
from torch.fx import GraphModule

from fxquant import get_default_qconfig_mapping, ops

X = torch.randn(2, 4)
WEIGHT = torch.tensor([[1.27, -0.635, 0.005, 0.0], [0.0, 0.0, 0.0, 0.0], [-12.7, 0.1, 0.05, 0.15]])


def converted(backend: str) -> tuple[GraphModule, nn.Linear]:
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight.copy_(WEIGHT)
    model = Written(lambda m, x: m.fc(x), fc=linear)
    gm = annotated(model, X, "annotate_groups", get_default_qconfig_mapping(backend))
    return convert_weights(observe_weights(gm)), linear


def test_weights_become_integers_with_a_scale_a_channel() -> None:
    gm, linear = converted("x86")
    assert calls(gm) == [ops.dequantize, ops.linear]
    state = gm.state_dict()
    assert {name: t.dtype for name, t in state.items()} == {
        "fc.weight_int8": torch.int8,
        "fc.weight_scale": torch.float32,
        "fc.bias": torch.float32,
    }
    q = node_of(gm, ops.dequantize).args[1]
    assert (q.scale.target, q.zero_point, q.dtype, q.axis) == ("fc.weight_scale", 0, torch.int8, 0)
    scale = state["fc.weight_scale"]
    assert torch.equal(state["fc.weight_int8"], torch.round(WEIGHT / scale[:, None]).clamp(-128, 127).to(torch.int8))
    error = (state["fc.weight_int8"] * scale[:, None] - WEIGHT).abs()
    assert bool((error <= scale[:, None] * 0.5001).all())
    real = nn.functional.linear(X, state["fc.weight_int8"] * scale[:, None], linear.bias)
    torch.testing.assert_close(gm(X), real)


def test_zero_weights_stay_zero() -> None:
    gm, _ = converted("x86")
    assert gm.state_dict()["fc.weight_int8"][1].tolist() == [0, 0, 0, 0]


def test_one_scale_is_a_number() -> None:
    gm, _ = converted("qnnpack")
    assert sorted(gm.state_dict()) == ["fc.bias", "fc.weight_int8"]
    q = node_of(gm, ops.dequantize).args[1]
    assert (q.zero_point, q.axis) == (0, None)
    assert q.scale == pytest.approx(0.1, rel=0.005)
