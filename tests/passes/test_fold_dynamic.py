"""Linear under dynamic qconfigs: what a finished model computes, says and keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from copies import copies_of
from fxquant.passes.annotate_dynamic import FEW_LIMIT
from regions import assert_planned_right
from torch import Tensor, nn
from torch.nn import functional as F

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
    quantize_dynamic,
)
from fxquant.demo.metrics import sqnr_db
from fxquant.observer import (
    MinMaxObserver,
    PerGroupMinMaxObserver,
    PlaceholderObserver,
    default_dynamic_quant_observer,
    default_per_channel_weight_observer,
)
from fxquant.ops.integer.linear import dynamic_linear, dynamic_linear_grouped
from fxquant.ops.integer.matmul import dynamic_matmul
from fxquant.qconfig import default_dynamic_qconfig, per_channel_dynamic_qconfig
from fxquant.qparams import Dynamic, FloatOutput


def converted(model: nn.Module, qconfig: Any, *x: Tensor) -> Any:
    return convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), x))


def with_activation(observer: Any, **options: Any) -> QConfig:
    return QConfig(observer.with_args(is_dynamic=True, **options), default_per_channel_weight_observer)


def in_groups(size: int) -> QConfig:
    return QConfig(default_dynamic_quant_observer, PerGroupMinMaxObserver.with_args(group_size=size))


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


@pytest.mark.parametrize("size", [8, 20, 40])
def test_weights_in_groups(size: int, isa: str, tmp_path: Any) -> None:
    model, x = nn.Sequential(nn.Linear(40, 30), nn.ReLU()).eval(), torch.randn(7, 40)
    with torch.no_grad():
        model[0].weight.mul_(torch.logspace(-2, 0, 5).repeat_interleave(8))
    quantized, eager = converted(model, in_groups(size), x), quantize_dynamic(model, {nn.Linear: in_groups(size)})
    [row] = explain(quantized).rows
    assert (row.op, row.absorbed) == ("DynamicLinearGrouped", ("ReLU",))
    layer = next(module for module in quantized.modules() if hasattr(module, "derived_packed"))
    assert layer.constant("scale").shape == (30, 40 // size)
    constants = [layer.constant(name) for name in ("weight", "scale", "bias")]
    for each in (x, x[0], torch.randn(2, 3, 40)):
        real = dynamic_linear_grouped(each, *constants, Dynamic(), FloatOutput(0.0))
        assert torch.equal(quantized(each), real)
        assert torch.equal(eager(each), real)
    assert_planned_right(quantized, x)
    assert sqnr_db(model(x), quantized(x)) > 30
    for again in copies_of(quantized, tmp_path):
        assert torch.equal(again(x), quantized(x))


class Products(nn.Module):
    """Of activations, in all spellings."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(24, 24), nn.Linear(40, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = torch.einsum("bik,bjk->bij", y, x)
        z = torch.bmm(z, torch.matmul(y, x.transpose(1, 2)) / 4) @ z
        return self.last(z)


def test_products_of_activations() -> None:
    model, x = Products().eval(), torch.randn(3, 40, 24)
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    found = [row.op for row in explain(quantized).rows if row.precision == "dynamic"]
    assert found == ["DynamicLinear", *["DynamicMatmul"] * 4, "DynamicLinear"]
    for batch in (3, 1, 5):
        x = torch.randn(batch, 40, 24)
        assert_planned_right(quantized, x)
        assert sqnr_db(model(x), quantized(x)) > 30


class Parameters(nn.Module):
    """Products with parameters, as the Conv1D of GPT-2 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(24, 40)), nn.Parameter(torch.randn(40))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.addmm(self.bias, x, self.weight), F.relu(x @ self.weight)


def test_a_product_with_a_parameter_is_a_linear_layer() -> None:
    model, x = Parameters().eval(), torch.randn(3, 24)
    quantized = converted(model, per_channel_dynamic_qconfig, x)
    rows = [(row.op, row.absorbed) for row in explain(quantized).rows if row.precision == "dynamic"]
    assert rows == [("DynamicLinear", ()), ("DynamicLinear", ("F.relu",))]
    y, z = quantized(x)
    product = dynamic_matmul(x, model.weight.detach(), 1.0)
    assert torch.equal(z, product.relu())
    torch.testing.assert_close(y, product + model.bias)


def test_a_product_of_few_rows_stays_float() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x

    found = {
        size: explain(converted(Square(), per_channel_dynamic_qconfig, torch.randn(2, size, size))).rows
        for size in (31, 32)
    }
    assert [(row.precision, row.reason) for row in found[31]] == [("float", FEW_LIMIT)]
    assert [row.precision for row in found[32]] == ["dynamic"]


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
        (with_activation(PlaceholderObserver, dtype=torch.int8, qscheme=torch.per_tensor_symmetric), "are affine"),
        (in_groups(16), "asks for groups of 16 inputs, which do not divide its 40"),
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
