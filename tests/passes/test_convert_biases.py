from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn

import fxquant
from fxquant import calibrate, convert_fx, convert_to_reference_fx, correct_biases, get_default_qconfig_mapping
from fxquant.graph.weights import mean_of_products
from fxquant.observer.mean import MeanObserver


def calibrated(model: nn.Module, x: Tensor, mapping: Any = None) -> Any:
    prepared = fxquant.prepare_fx(model.eval(), mapping or get_default_qconfig_mapping(), (x,))
    return calibrate(prepared, [x], progress=False)


LAYERS = {
    "linear": (nn.Linear(16, 8), (4, 16)),
    "linear without a bias": (nn.Linear(16, 8, bias=False), (4, 5, 16)),
    "conv1d": (nn.Conv1d(6, 8, 3), (2, 6, 12)),
    "conv2d": (nn.Conv2d(6, 8, 3), (2, 6, 9, 9)),
    "conv3d": (nn.Conv3d(4, 6, 2), (2, 4, 5, 5, 5)),
    "groups": (nn.Conv2d(8, 12, 3, groups=4), (2, 8, 9, 9)),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8, bias=False), (2, 8, 9, 9)),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_rounded_weights_give_of_mean_inputs_what_float_ones_give(layer: Any, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape) + torch.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    state = convert_to_reference_fx(calibrated(layer, x)).state_dict()
    axis = x.dim() - 1 if isinstance(layer, nn.Linear) else 1
    observer = MeanObserver(axis)
    observer(x)
    mean = observer.expected.float().reshape([-1 if d == axis else 1 for d in range(x.dim())]).expand(shape)
    rounded = copy.deepcopy(layer)
    scale = state["weight_scale"].reshape(-1, *[1] * (layer.weight.dim() - 1))
    rounded.weight.data = state["weight_int8"] * scale
    rounded.bias = nn.Parameter(state["bias"])
    assert not torch.equal(rounded.weight, layer.weight)
    torch.testing.assert_close(rounded(mean), layer(mean), atol=2e-4, rtol=0)
    as_it_is = convert_fx(calibrated(layer, x), passes=[fxquant.without("convert_biases")])
    assert not torch.equal(as_it_is(x), convert_fx(calibrated(layer, x))(x))


@pytest.mark.parametrize(
    "qconfig",
    [
        fxquant.qconfig.default_dynamic_qconfig,
        fxquant.qconfig.per_channel_weight_only_qconfig,
        fxquant.qconfig.group_weight_only_qconfig,
    ],
    ids=["dynamic", "weight only", "weights in groups"],
)
@pytest.mark.parametrize("bias", [False, True])
def test_layers_that_need_no_calibration_are_corrected_if_they_had_one(qconfig: Any, bias: bool) -> None:
    layer = nn.Linear(96, 8, bias=bias)
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(0)) + 3
    prepared = fxquant.prepare_fx(layer, fxquant.QConfigMapping().set_global(qconfig), (x,))
    without = convert_fx(prepared)(x) - layer(x)
    after = convert_fx(calibrate(prepared, [x], progress=False))(x) - layer(x)
    assert float(after.mean(0).abs().max()) < 0.3 * float(without.mean(0).abs().max())
    assert float(after.square().mean()) < float(without.square().mean())


def test_nothing_but_the_bias_changes_and_the_users_model_keeps_its_own() -> None:
    model = Written(lambda m, x: m.b(m.a(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8, bias=False))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepared = calibrated(model, torch.rand(16, 8))
    state = {name: tensor.clone() for name, tensor in prepared.state_dict().items()}
    reference = convert_to_reference_fx(prepared)
    assert {"a.bias", "b.bias"} <= reference.state_dict().keys()
    assert not torch.equal(reference.state_dict()["a.bias"], before["a.bias"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, state[name]) for name, tensor in prepared.state_dict().items())


def test_a_bias_that_is_shared_becomes_two() -> None:
    model = Written(lambda m, x: m.b(m.a(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    model.b.bias = model.a.bias
    x = torch.rand(64, 8)
    quantized = convert_fx(calibrated(model, x))
    torch.testing.assert_close(quantized(x), model(x), atol=0.05, rtol=0)


def test_a_layer_that_stays_float_at_conversion_keeps_its_bias() -> None:
    model = Written(lambda m, x: m.b(m.a(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    x = torch.rand(16, 8)
    mapping = get_default_qconfig_mapping()
    prepared = calibrated(model, x, mapping)
    left = get_default_qconfig_mapping().set_module_name("a", None)
    assert torch.equal(convert_fx(prepared, qconfig_mapping=left).state_dict()["a.bias"], model.a.bias)


def test_measured_corrections_come_on_top() -> None:
    model = Written(lambda m, x: m.b(m.a(x).relu()), a=nn.Linear(32, 32), b=nn.Linear(32, 8))
    x = torch.rand(256, 32)
    prepared = calibrated(model, x)
    before = (convert_fx(prepared)(x) - model(x)).mean(0).abs().mean()
    after = (convert_fx(correct_biases(prepared, [x]))(x) - model(x)).mean(0).abs().mean()
    assert after <= 1.1 * before


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_means_go_through_a_layer_as_constants_do(groups: int) -> None:
    conv = nn.Conv2d(8, 4, 3, groups=groups, bias=False)
    mean = torch.randn(8)
    expected = conv(mean.reshape(1, 8, 1, 1).expand(1, 8, 3, 3)).flatten()
    torch.testing.assert_close(mean_of_products(conv.weight.detach().double(), mean.double(), groups).float(), expected)
