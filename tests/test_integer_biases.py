"""Dynamic Linear layers whose biases are int32: what they compute in both modes, and what refuses them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from copies import copies_of
from torch import Tensor, nn

from fxquant import QConfig, QConfigMapping, convert_fx, explain, prepare_fx, quantize_dynamic
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.observer import PerGroupMinMaxObserver, PlaceholderObserver
from fxquant.qconfig import (
    default_dynamic_qconfig,
    per_channel_dynamic_qconfig,
    qconfig_equals,
)
from fxquant.qparams import Dynamic, dynamic_quantize


def with_biases(qconfig: QConfig, dtype: torch.dtype | None) -> QConfig:
    return QConfig(qconfig.activation.with_args(bias_dtype=dtype), qconfig.weight)


INT32 = with_biases(per_channel_dynamic_qconfig, torch.int32)


def converted(model: nn.Module, qconfig: Any, *x: Tensor) -> Any:
    return convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), x))


def coarse(bias: bool = True) -> nn.Linear:
    """Of weights whose scales are so large that biases are few steps."""
    linear = nn.Linear(24, 10, bias=bias)
    linear.weight.data *= 50
    return linear


def test_a_sum_of_integers_times_their_scale() -> None:
    linear, x = coarse(), torch.randn(5, 24)
    graph, eager = converted(nn.Sequential(linear), INT32, x), quantize_dynamic(nn.Sequential(linear), {"0": INT32})
    weight: Any = eager.get_submodule("0")
    codes, scale, zero_point = dynamic_quantize(x, Dynamic())
    step = scale.double() * weight.weight().q_per_channel_scales().double()
    bias = torch.round(linear.bias.double() / step)
    acc = (codes.double() - zero_point) @ weight.weight().int_repr().T.double()
    torch.testing.assert_close(graph(x).double(), (acc + bias) * step, rtol=1e-5, atol=1e-6)
    assert torch.equal(eager(x), graph(x))
    sums = graph(x).double() / step  # whole numbers of steps, unlike those of float biases
    assert (sums - sums.round()).abs().max() < 0.01
    others = converted(nn.Sequential(linear), per_channel_dynamic_qconfig, x)(x).double() / step
    assert (others - others.round()).abs().max() > 0.1
    assert "biases in int32" in repr(weight)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, None])
@pytest.mark.parametrize("base", [default_dynamic_qconfig, per_channel_dynamic_qconfig])
def test_both_modes_agree_with_relu_and_without_bias(base: QConfig, dtype: torch.dtype | None) -> None:
    model = nn.Sequential(coarse(), nn.ReLU(), nn.Linear(10, 6, bias=False)).eval()
    qconfig, x = with_biases(base, dtype), torch.randn(2, 7, 24)
    graph, eager = converted(model, qconfig, x), quantize_dynamic(model, {nn.Linear: qconfig})
    assert torch.equal(graph(x), eager(x))
    assert torch.equal(graph(x), graph.int8.node_by_node(x))
    assert [(row.op, row.absorbed) for row in explain(graph).rows] == [
        ("DynamicLinear", ("ReLU",)),
        ("DynamicLinear", ()),
    ]
    assert (graph.get_submodule("int8.0").constant("integer_bias") is True) == (dtype is torch.int32)


def test_a_row_of_zeros_and_a_channel_of_zeros_keep_their_biases() -> None:
    linear, x = coarse(), torch.zeros(3, 24)
    linear.weight.data[4], x[1] = 0.0, torch.randn(24)
    y = converted(nn.Sequential(linear), INT32, x)(x)
    torch.testing.assert_close(y[0], linear.bias.detach())
    assert torch.equal(y[:, 4].isfinite(), torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(y[1, 4], linear.bias[4].detach())


def test_saves_loads_pickles_and_exports(tmp_path: Any) -> None:
    model, other, x = nn.Sequential(coarse()), nn.Sequential(coarse()), torch.randn(3, 24)
    graph = converted(model, INT32, x)
    for again in copies_of(graph, tmp_path):
        assert torch.equal(again(x), graph(x))
    another = converted(other, INT32, x)
    another.load_state_dict(graph.state_dict())
    assert torch.equal(another(x), graph(x))
    assert torch.equal(torch.export.export(graph, (x,)).module()(x), graph(x))
    eager = quantize_dynamic(model, {"0": INT32})
    assert torch.equal(pickle.loads(pickle.dumps(eager))(x), eager(x))
    again, fresh = quantize_dynamic(other, {"0": INT32}), eager.get_submodule("0")
    again.get_submodule("0").set_weight_bias(fresh.weight(), fresh.bias())
    assert torch.equal(again(x), eager(x))


def test_what_has_no_such_bias() -> None:
    x = torch.randn(2, 32)
    groups = QConfig(INT32.activation, PerGroupMinMaxObserver.with_args(group_size=8))
    odd = nn.Linear(32, 4)
    odd.bias.data[2] = float("-inf")
    cases: list[Any] = [
        (nn.Linear(32, 4), groups, x, "asks for a bias of torch.int32; only linear"),
        (nn.Conv1d(2, 4, 3), INT32, torch.randn(1, 2, 9), "asks for a bias of torch.int32; only linear"),
        (nn.LSTM(32, 4), INT32, x, "asks for a bias of torch.int32; only linear"),
        (odd, INT32, x, "no infinity"),
    ]
    for module, qconfig, example, words in cases:
        rows = explain(converted(nn.Sequential(module), qconfig, example)).rows
        assert any(row.precision == "float" and words in row.reason for row in rows), (module, rows)
    with pytest.raises(ConfigError, match=r"0, a LSTM, cannot be quantized: .* a bias of torch\.int32"):
        quantize_dynamic(nn.Sequential(nn.LSTM(4, 4)), {"0": INT32})
    with pytest.warns(ConfigWarning, match="no infinity"):
        quantize_dynamic(nn.Sequential(odd), {"0": INT32})


def test_the_observer() -> None:
    assert not qconfig_equals(INT32, per_channel_dynamic_qconfig)
    assert pickle.loads(pickle.dumps(INT32)) == INT32
    for settings, words in (
        ({"is_dynamic": True, "bias_dtype": torch.int8}, "not torch.int8"),
        ({}, "is_dynamic=True"),
    ):
        with pytest.raises(ConfigError, match=words):
            PlaceholderObserver(**{"bias_dtype": torch.int32, **settings})
