"""Linear and recurrent layers with float16 weights, module by module and in graph mode."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from copies import copies_of
from onnx_models import exported
from torch import Tensor, nn

from fxquant import QConfig, QConfigMapping, convert_fx, convert_to_reference_fx, explain, prepare_fx, quantize_dynamic
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.observer import PlaceholderObserver, default_placeholder_observer
from fxquant.qconfig import default_dynamic_qconfig, float16_dynamic_qconfig, float16_static_qconfig


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 8, bias=False)).eval()


def in_graph(model: nn.Module, x: Tensor, qconfig: QConfig = float16_dynamic_qconfig) -> Any:
    return convert_fx(prepare_fx(model, QConfigMapping().set_global(qconfig), (x,)))


def rounded(model: nn.Module, x: Tensor) -> Tensor:
    """By hand: weights that float16 holds, all else float32."""
    hidden = nn.functional.linear(x, model[0].weight.half().float(), model[0].bias).relu()
    return hidden @ model[2].weight.half().float().T


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_both_modes_compute_what_rounded_weights_give(rows: int) -> None:
    model, x = network(), torch.randn(rows, 40)
    eager, graph = quantize_dynamic(model, dtype=torch.float16), in_graph(model, x)
    torch.testing.assert_close(eager(x), rounded(model, x), rtol=1e-5, atol=1e-5)
    assert torch.equal(graph(x), eager(x))
    assert [(row.op, row.precision, row.absorbed, row.reason) for row in explain(graph).rows] == [
        ("WeightOnlyLinear", "weight-only", ("ReLU",), ""),
        ("WeightOnlyLinear", "weight-only", (), ""),
    ]
    assert [name for name, _ in graph.named_children()] == ["int8"]
    only_weights = QConfig(default_placeholder_observer, PlaceholderObserver.with_args(dtype=torch.float16))
    assert torch.equal(quantize_dynamic(model, {nn.Linear: only_weights})(x), eager(x))
    assert torch.equal(in_graph(model, x, only_weights)(x), eager(x))


def test_weights_are_shown() -> None:
    linear: Any = quantize_dynamic(network(), {"0": float16_dynamic_qconfig})[0]
    assert repr(linear) == "WeightOnlyQuantizedLinear(in_features=40, out_features=30, dtype=torch.float16)"
    assert linear.weight().int_repr().dtype is torch.float16
    assert linear.weight().dequantize().dtype is torch.float32
    with pytest.raises(InputError, match=r"float32"):
        linear(torch.zeros(2, 40).half())


def test_saves_loads_and_exports(tmp_path: Any) -> None:
    model, other, x = network(), network(), torch.randn(3, 40)
    graph, eager = in_graph(model, x), quantize_dynamic(model, dtype=torch.float16)
    for again in copies_of(graph, tmp_path):
        assert torch.equal(again(x), graph(x))
    torch.testing.assert_close(exported(graph, tmp_path, x)[0], graph(x), rtol=1e-5, atol=1e-5)
    second = quantize_dynamic(other, dtype=torch.float16)
    second.load_state_dict(eager.state_dict())
    for again in (second, pickle.loads(pickle.dumps(eager))):
        assert torch.equal(again(x), eager(x))


def test_the_state_is_a_half() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512))
    quantized = (quantize_dynamic(model, dtype=torch.float16), in_graph(model, torch.randn(1, 512)))
    whole, *halves = (sum(t.numel() * t.element_size() for t in m.state_dict().values()) for m in (model, *quantized))
    assert all(half < 0.51 * whole for half in halves)


def test_large_weights_become_the_largest_float16() -> None:
    model, x = nn.Sequential(nn.Linear(2, 1, bias=False)).eval(), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    model[0].weight.data = torch.tensor([[1e6, -7e4]])
    for quantized in (quantize_dynamic(model, dtype=torch.float16), in_graph(model, x)):
        assert quantized(x).flatten().tolist() == [65504.0, -65504.0]


def test_a_model_of_bfloat16() -> None:
    model, x = network().bfloat16(), torch.randn(9, 40).bfloat16()
    y = quantize_dynamic(model, dtype=torch.float16)(x)
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.float(), model(x).float(), rtol=0.03, atol=0.02)
    assert torch.equal(in_graph(model, x)(x), y)


def test_the_reference_runs() -> None:
    model, x = network(), torch.randn(3, 40)
    reference = convert_to_reference_fx(prepare_fx(model, QConfigMapping().set_global(float16_dynamic_qconfig), (x,)))
    torch.testing.assert_close(reference(x), rounded(model, x), rtol=1e-5, atol=1e-5)


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(10, 12, 2, bidirectional=True, batch_first=True)
        self.gru, self.rnn = nn.GRU(24, 8, bias=False), nn.RNN(8, 6, nonlinearity="relu")
        self.cell, self.last = nn.LSTMCell(6, 5), nn.GRUCell(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(self.gru(self.lstm(x)[0].transpose(0, 1))[0])[0]
        last: Tensor = self.last(self.cell(y[-1])[0])
        return last


def test_recurrent_layers_compute_with_rounded_weights(tmp_path: Any) -> None:
    model, x = Sequences().eval(), torch.randn(3, 7, 10)
    by_hand = copy.deepcopy(model)
    for parameter in by_hand.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.half().float()
    eager, graph = quantize_dynamic(model, dtype=torch.float16), in_graph(model, x)
    expected = by_hand(x)
    assert not torch.equal(expected, model(x))
    for quantized in (eager, graph):
        torch.testing.assert_close(quantized(x), expected, rtol=1e-6, atol=1e-6)
        matrices = [tensor for tensor in quantized.state_dict().values() if tensor.dim() == 2]
        assert len(matrices) == 16
        assert {tensor.dtype for tensor in matrices} == {torch.float16}
    assert {row.precision for row in explain(graph).rows if row.op == "recurrent"} == {"weight-only"}
    for again in copies_of(graph, tmp_path):
        assert torch.equal(again(x), graph(x))
    assert torch.equal(pickle.loads(pickle.dumps(eager))(x), eager(x))


def test_a_layer_among_others_may_have_them() -> None:
    model = nn.LSTM(4, 4, 2).eval()
    spec = {nn.LSTM: default_dynamic_qconfig, "l0": float16_dynamic_qconfig}
    quantized: Any = quantize_dynamic(model, spec)
    assert quantized.l0.weight_hh.dtype is torch.float16
    assert quantized.l1.constant("weight_hh").dtype is torch.int8


def test_what_stays_float_says_so() -> None:
    model = nn.ModuleList([nn.Linear(4, 4), nn.LSTM(4, 4, proj_size=2)])
    with pytest.warns(ConfigWarning, match=r"1, a LSTM: stays float, since a layer with projections has no form"):
        quantized = quantize_dynamic(model, dtype=torch.float16)
    assert type(quantized[1]) is nn.LSTM
    with pytest.raises(ConfigError, match=r"a layer with projections has no form with weights of 16 bits"):
        quantize_dynamic(model, {"1": default_dynamic_qconfig, "1.l0": float16_dynamic_qconfig})
    conv, x = nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(1, 3, 8, 8)
    [row] = explain(in_graph(conv, x)).rows
    assert (row.precision, "torch.float16" in row.reason) == ("float", True)
    [row] = explain(in_graph(network()[:1], torch.randn(1, 40), float16_static_qconfig)).rows
    assert (row.precision, "torch.float16" in row.reason) == ("float", True)
