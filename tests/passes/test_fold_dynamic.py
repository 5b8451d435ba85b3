"""Linear under dynamic qconfigs: what a finished model computes, says and keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from copies import copies_of
from torch import Tensor, nn

import fxquant
from fxquant import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    QConfig,
    QConfigMapping,
    convert_fx,
    explain,
    get_default_qconfig_mapping,
    prepare_fx,
    without,
)
from fxquant.observer import (
    MinMaxObserver,
    PerGroupMinMaxObserver,
    PlaceholderObserver,
    default_dynamic_quant_observer,
    default_per_channel_weight_observer,
)
from fxquant.ops.integer.linear import dynamic_linear
from fxquant.qconfig import default_dynamic_qconfig, float16_dynamic_qconfig, per_channel_dynamic_qconfig
from fxquant.qparams import Dynamic, FloatOutput


def converted(model: nn.Module, qconfig: Any, *x: Tensor) -> Any:
    """With the scales of weights that `expected` has."""
    prepared = prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), x)
    return convert_fx(prepared, passes=[without("convert_scales")])


def with_activation(observer: Any, **options: Any) -> QConfig:
    return QConfig(observer.with_args(is_dynamic=True, **options), default_per_channel_weight_observer)


def expected(linear: nn.Linear, x: Tensor, dynamic: Dynamic) -> Tensor:
    """By hand: weights rounded per output channel, and the formula of the op."""
    weight, bias = linear.weight.detach(), linear.bias
    scale = weight.abs().amax(1) / 127
    codes = torch.round(weight / scale[:, None]).to(torch.int8)
    real = torch.zeros(len(weight)) if bias is None else bias.detach()
    return dynamic_linear(x, codes, scale, real, dynamic, FloatOutput())


@pytest.mark.parametrize("bias", [True, False])
def test_a_scale_for_each_row(bias: bool) -> None:
    model = nn.Sequential(nn.Linear(40, 30, bias=bias))
    x = torch.randn(3, 7, 40) * torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    assert [(row.op, row.precision, row.reason) for row in explain(quantized).rows] == [
        ("DynamicLinear", "dynamic", "")
    ]
    assert "0 int8, 1 dynamic, 0 float" in str(explain(quantized))
    torch.testing.assert_close(quantized(x), expected(model[0], x, Dynamic()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(quantized(x[2]), model(x[2]), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("observer", "options", "dynamic"),
    [
        (PlaceholderObserver, {"dtype": torch.uint8, "qscheme": torch.per_tensor_affine}, Dynamic(by_row=False)),
        (PlaceholderObserver, {"dtype": torch.int8}, Dynamic()),
        (PlaceholderObserver, {"dtype": torch.int8, "quant_min": -100, "quant_max": 90}, Dynamic(True, 28, 218)),
        (MinMaxObserver, {"quant_min": 0, "quant_max": 127}, Dynamic(False, 0, 127)),
    ],
)
def test_what_the_qconfig_asks_for(observer: Any, options: Any, dynamic: Dynamic) -> None:
    model, x = nn.Sequential(nn.Linear(40, 30)), torch.randn(5, 40) * torch.arange(1, 6)[:, None]
    quantized = converted(model, with_activation(observer, **options), x)
    torch.testing.assert_close(quantized(x), expected(model[0], x, dynamic), rtol=1e-5, atol=1e-5)


def test_torch_s_own_qconfig_has_one_scale_as_in_torch() -> None:
    theirs = pytest.importorskip("torch.ao.quantization").default_dynamic_qconfig
    model, x = nn.Sequential(nn.Linear(40, 30)), torch.randn(5, 40) * torch.arange(1, 6)[:, None]
    quantized = converted(model, theirs, x)
    assert not next(m for m in quantized.modules() if hasattr(m, "derived_packed")).constant("dynamic").by_row


@pytest.mark.parametrize("act", [nn.ReLU(), nn.Hardtanh(-0.5, 0.25), nn.ReLU6()])
def test_bounds_are_a_part_of_it(act: nn.Module) -> None:
    model, x = nn.Sequential(nn.Linear(40, 30), act), torch.randn(5, 40)
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    assert [(row.op, row.precision, row.absorbed) for row in explain(quantized).rows] == [
        ("DynamicLinear", "dynamic", (type(act).__name__,))
    ]
    torch.testing.assert_close(quantized(x), act(expected(model[0], x, Dynamic())), rtol=1e-5, atol=1e-6)


def test_layers_in_a_row_are_one_program() -> None:
    model, x = nn.Sequential(*(nn.Linear(16, 16) for _ in range(10))), torch.randn(2, 16)
    quantized = converted(model, default_dynamic_qconfig, x)
    assert [name for name, _ in quantized.named_children()] == ["int8"]
    layer_by_layer = quantized.int8.node_by_node(x)
    assert torch.equal(quantized(x), layer_by_layer)
    for shape in ((16,), (5, 16), (2, 3, 16)):
        assert quantized(torch.randn(shape)).shape == shape


class Recurrent(nn.Module):
    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.rnn, self.head = kind(8, 12, 2, batch_first=True, **options), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: Any) -> None:
    model, x = Recurrent(kind, bidirectional=True).eval(), torch.randn(2, 5, 8)
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    found = [row.op for row in explain(quantized).rows if row.precision == "dynamic"]
    assert found == ["DynamicRecurrent"] * 4 + ["DynamicLinear"]
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.02)
    assert quantized(torch.randn(1, 9, 8)).shape == (1, 9, 3)


def test_beside_static_layers() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)).eval()
    mapping = get_default_qconfig_mapping().set_module_name("1", per_channel_dynamic_qconfig)
    x = torch.randn(64, 16)
    prepared = prepare_fx(model, mapping, (x,))
    prepared(x)
    quantized = convert_fx(prepared)
    found = [(row.op, row.precision) for row in explain(quantized).rows]
    assert found.count(("DynamicLinear", "dynamic")) == 1
    assert [op for op, precision in found if precision == "int8"] == ["Int8Linear", "Int8Linear"]
    assert torch.nn.functional.cosine_similarity(quantized(x).flatten(), model(x).flatten(), dim=0) > 0.999


def test_needs_no_data_and_leaves_the_model_alone() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8)).eval(), torch.randn(2, 8)
    before = copy.deepcopy(model.state_dict())
    converted(model, default_dynamic_qconfig, x)  # pytest makes errors of warnings
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("qconfig", "reason"),
    [
        (float16_dynamic_qconfig, "its qconfig asks for torch.float16 activations"),
        (with_activation(PlaceholderObserver, dtype=torch.int8, qscheme=torch.per_tensor_symmetric), "are affine"),
        (QConfig(default_dynamic_quant_observer, PerGroupMinMaxObserver.with_args(group_size=8)), "groups of inputs"),
        (QConfig(default_dynamic_quant_observer, MinMaxObserver), "asks for torch.uint8 weights"),
    ],
)
def test_what_stays_float_says_why(qconfig: QConfig, reason: str) -> None:
    model, x = nn.Sequential(nn.Linear(40, 30)), torch.randn(5, 40)
    quantized = converted(model, qconfig, x)
    [row] = explain(quantized).rows
    assert row.precision == "float"
    assert reason in row.reason
    assert torch.equal(quantized(x), model(x))


def test_ops_without_such_a_kernel_stay_float() -> None:
    quantized = converted(nn.Sequential(nn.GroupNorm(1, 2)), default_dynamic_qconfig, torch.randn(1, 2, 5, 5))
    [row] = explain(quantized).rows
    assert row.reason == "its qconfig is dynamic, and it has no kernel that finds scales at run time"


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_backend_has_to_allow_it(dynamic: bool) -> None:
    allowed = DTypeConfig(torch.uint8, torch.float32, torch.int8, torch.float32, is_dynamic=dynamic)
    backend = BackendConfig("mine").set_backend_pattern_config(
        BackendPatternConfig(nn.Linear).set_dtype_configs([allowed])
    )
    model, x = nn.Sequential(nn.Linear(8, 8)).eval(), torch.randn(2, 8)
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    quantized = convert_fx(prepare_fx(model, mapping, (x,), backend_config=backend))
    assert [row.precision for row in explain(quantized).rows] == ["dynamic" if dynamic else "float"]


def test_saves_loads_pickles_and_exports(tmp_path: Any) -> None:
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(3, 8)
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    y = quantized(x)
    for again in copies_of(quantized, tmp_path):
        assert torch.equal(again(x), y)
    other = converted(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), per_channel_dynamic_qconfig, x)
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(x), y)
    assert torch.equal(torch.export.export(quantized, (x,)).module()(x), y)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 9), torch.zeros(2, 8).double(), torch.zeros(2, 8, dtype=torch.uint8)])
def test_wrong_inputs_are_refused_where_they_are_met(wrong: Tensor) -> None:
    quantized = converted(nn.Sequential(nn.Linear(8, 8)), default_dynamic_qconfig, torch.randn(2, 8))
    with pytest.raises(fxquant.errors.InputError, match=r"0 \(Linear\)"):
        quantized(wrong)
