"""Linear layers under weight-only qconfigs, module by module and in graph mode: what they compute, say and keep."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from copies import copies_of
from torch import Tensor, nn

from fxquant import (
    QConfig,
    QConfigMapping,
    convert_fx,
    convert_to_reference_fx,
    dynamic,
    explain,
    prepare_fx,
    quantize_dynamic,
)
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.observer import MinMaxObserver, default_placeholder_observer
from fxquant.qconfig import (
    default_weight_only_qconfig,
    group_weight_only_qconfig,
    per_channel_weight_only_qconfig,
)

ALL = [default_weight_only_qconfig, per_channel_weight_only_qconfig, group_weight_only_qconfig]


def converted(model: nn.Module, qconfig: Any, *x: Tensor) -> Any:
    return convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), x))


def expected(linear: nn.Linear, x: Tensor, qconfig: QConfig) -> Tensor:
    """By hand: the float product with weights that were rounded to 127 steps of the largest, of each group."""
    weight = linear.weight.detach().double()
    outputs, inputs = weight.shape
    parts = {default_weight_only_qconfig: (1, -1), per_channel_weight_only_qconfig: (outputs, -1)}
    grouped = weight.reshape(parts.get(qconfig, (-1, 32)))
    scale = grouped.abs().amax(1, keepdim=True) / 127
    rounded = (torch.round(grouped / scale) * scale).reshape(outputs, inputs)
    return nn.functional.linear(x.double(), rounded, None if linear.bias is None else linear.bias.detach().double())


@pytest.mark.parametrize("qconfig", ALL)
@pytest.mark.parametrize("bias", [True, False])
def test_both_modes_compute_what_rounded_weights_give(qconfig: QConfig, bias: bool) -> None:
    linear, x = nn.Linear(64, 30, bias=bias), torch.randn(3, 7, 64)
    model = nn.Sequential(linear).eval()
    eager, graph = quantize_dynamic(model, {nn.Linear: qconfig}), converted(model, qconfig, x)
    torch.testing.assert_close(eager(x), expected(linear, x, qconfig).float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(graph(x), eager(x))
    assert [(row.op, row.precision, row.reason) for row in explain(graph).rows] == [
        ("WeightOnlyLinear", "weight-only", "")
    ]
    assert "0 int8, 1 weight-only, 0 float" in str(explain(graph))


def test_weights_are_shown_as_those_of_torch() -> None:
    linear = nn.Linear(64, 8)
    model = nn.Sequential(linear, nn.Linear(8, 4))
    for qconfig, words in zip(ALL, ("per_tensor", "per_channel", "group_size=32"), strict=True):
        module: Any = quantize_dynamic(model, {"0": qconfig}).get_submodule("0")
        assert words in repr(module)
        assert module.weight().int_repr().dtype is torch.int8
        assert (module.weight().dequantize() - linear.weight).abs().max() < 0.001
        assert torch.equal(module.bias(), linear.bias)
        assert (module.in_features, module.out_features) == (64, 8)
    assert isinstance(module, dynamic.WeightOnlyLinear)


@pytest.mark.parametrize("qconfig", ALL)
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_both_modes_take_bfloat16(qconfig: QConfig, rows: int, threads: int) -> None:
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 50, bias=False)).bfloat16().eval()
    x = torch.randn(2, rows, 64).bfloat16()
    graph, eager = converted(model, qconfig, x), quantize_dynamic(model, {nn.Linear: qconfig})
    assert [(row.op, row.absorbed) for row in explain(graph).rows] == [
        ("WeightOnlyLinear", ("ReLU",)),
        ("WeightOnlyLinear", ()),
    ]
    y = graph(x)
    assert (y.dtype, [name for name, _ in graph.named_children()]) == (torch.bfloat16, ["int8"])
    assert torch.equal(y, eager(x))
    assert torch.equal(y, graph.int8.node_by_node(x))
    assert graph.int8.programs.plans
    weights = [eager.get_submodule(name).weight().dequantize() for name in ("0", "2")]
    hidden = nn.functional.linear(x.float(), weights[0], model[0].bias.float()).relu().bfloat16()
    torch.testing.assert_close(y.float(), hidden.float() @ weights[1].T, rtol=2**-7, atol=0.01)
    with pytest.raises(InputError, match=r"0 \(Linear\).* not torch\.float16"):
        graph(x.half())


def test_the_reference_of_a_bfloat16_model_runs(tmp_path: Any) -> None:
    model, x = nn.Sequential(nn.Linear(64, 30), nn.GELU(), nn.Linear(30, 8)).bfloat16().eval(), torch.randn(5, 64)
    prepared = prepare_fx(model, QConfigMapping().set_global(per_channel_weight_only_qconfig), (x.bfloat16(),))
    prepared(x.bfloat16())
    reference, quantized = convert_to_reference_fx(copy.deepcopy(prepared)), convert_fx(prepared)
    for each in (reference, quantized, *copies_of(quantized, tmp_path)):
        y = each(x.bfloat16())
        assert y.dtype is torch.bfloat16
        torch.testing.assert_close(y.float(), model(x.bfloat16()).float(), rtol=0.05, atol=0.02)
    assert [row.op for row in explain(quantized).rows] == ["WeightOnlyLinear", "gelu", "WeightOnlyLinear"]


def test_a_module_takes_bfloat16() -> None:
    model, x = nn.Sequential(nn.Linear(64, 30), nn.GELU(), nn.Linear(30, 8)).bfloat16(), torch.randn(5, 64).bfloat16()
    quantized = quantize_dynamic(model, {nn.Linear: per_channel_weight_only_qconfig})
    assert quantized(x).dtype is torch.bfloat16
    torch.testing.assert_close(quantized(x).float(), model(x).float(), rtol=0.05, atol=0.02)


def test_bounds_are_a_part_of_it_and_layers_one_program() -> None:
    model, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval(), torch.randn(5, 64)
    quantized = converted(model, per_channel_weight_only_qconfig, x)
    assert [(row.precision, row.absorbed) for row in explain(quantized).rows] == [
        ("weight-only", ("ReLU",)),
        ("weight-only", ()),
    ]
    assert [name for name, _ in quantized.named_children()] == ["int8"]
    assert torch.equal(quantized(x), quantized.int8.node_by_node(x))
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.02)
    for shape in ((64,), (1, 64), (2, 50, 64)):
        assert quantized(torch.randn(shape)).shape == (*shape[:-1], 8)


@pytest.mark.parametrize("qconfig", ALL)
def test_saves_loads_pickles_and_exports(qconfig: QConfig, tmp_path: Any) -> None:
    model, other, x = nn.Sequential(nn.Linear(32, 8)), nn.Sequential(nn.Linear(32, 8)), torch.randn(3, 32)
    quantized = converted(model, qconfig, x)
    y = quantized(x)
    for again in copies_of(quantized, tmp_path):
        assert torch.equal(again(x), y)
    another = converted(other, qconfig, x)
    another.load_state_dict(quantized.state_dict())
    assert torch.equal(another(x), y)
    assert torch.equal(torch.export.export(quantized, (x,)).module()(x), y)
    eager, second = (quantize_dynamic(m, {nn.Linear: qconfig}) for m in (model, other))
    second.load_state_dict(eager.state_dict())
    assert torch.equal(second(x), eager(x))
    assert torch.equal(pickle.loads(pickle.dumps(eager))(x), eager(x))


def test_the_state_is_a_quarter() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512))
    bytes_of = [
        sum(t.numel() * t.element_size() for t in m.state_dict().values())
        for m in (model, quantize_dynamic(model, {nn.Linear: per_channel_weight_only_qconfig}))
    ]
    assert bytes_of[1] < 0.26 * bytes_of[0]


def test_what_it_cannot_have() -> None:
    model, x = nn.Sequential(nn.Linear(40, 30)).eval(), torch.randn(5, 40)
    affine = QConfig(default_placeholder_observer, MinMaxObserver)
    stays = pytest.warns(ConfigWarning, match="0, a Linear: stays float")
    refused = pytest.raises(ConfigError, match="asks for torch")
    cases: list[Any] = [
        (group_weight_only_qconfig, "do not divide its 40", stays),
        (affine, "torch.uint8 weights", refused),
    ]
    for qconfig, words, told in cases:
        with told:
            assert type(quantize_dynamic(model, {"0": qconfig})[0]) is nn.Linear
        [row] = explain(converted(model, qconfig, x)).rows
        assert (row.precision, words in row.reason) == ("float", True)
    quantized = converted(model, default_weight_only_qconfig, x)
    for wrong in (torch.zeros(2, 9), torch.zeros(2, 40).double()):
        with pytest.raises(InputError, match=r"0 \(Linear\)"):
            quantized(wrong)


def test_a_table_has_no_groups() -> None:
    model, x = nn.Sequential(nn.Embedding(9, 32), nn.Linear(32, 4)).eval(), torch.tensor([3, 0, 8])
    quantized = converted(model, group_weight_only_qconfig, x)
    assert [row.op for row in explain(quantized).rows] == ["FloatEmbedding", "WeightOnlyLinear"]
    [alone] = explain(converted(model[:1], group_weight_only_qconfig, x)).rows
    assert "groups of 32 weights; kernels take one scale for each row" in alone.reason
    assert type(quantize_dynamic(model, {"": group_weight_only_qconfig})[0]) is nn.Embedding


def test_an_lstm_has_no_such_form() -> None:
    with pytest.raises(ConfigError, match="not dynamic"):
        quantize_dynamic(nn.Sequential(nn.LSTM(4, 4)), {nn.LSTM: default_weight_only_qconfig})
