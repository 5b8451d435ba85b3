"""Convolutions under dynamic qconfigs, in graph mode and by quantize_dynamic: what they compute, say and keep."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from copies import copies_of
from torch import Tensor, nn

import fxquant
from fxquant import QConfigMapping, convert_fx, dynamic, explain, prepare_fx, quantize_dynamic
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.ops.integer.dynamic_conv import dynamic_conv2d
from fxquant.qconfig import (
    default_dynamic_qconfig,
    get_default_qconfig,
    per_channel_dynamic_qconfig,
    per_channel_dynamic_qconfig_16bit,
)
from fxquant.qparams import Dynamic, FloatOutput

MODULES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Conv1d(8, 12, 3, padding=2), (2, 8, 9)),
    (nn.Conv2d(8, 12, (3, 5), (1, 2), padding=(1, 2), bias=False), (2, 8, 9, 11)),
    (nn.Conv2d(8, 12, 3, padding="same", dilation=2, groups=4), (2, 8, 9, 11)),
    (nn.Conv2d(8, 12, (3, 2), padding=(1, 0), padding_mode="circular"), (2, 8, 9, 11)),
    (nn.Conv3d(8, 12, 3, 2, padding=1), (2, 8, 9, 7, 6)),
    (nn.ConvTranspose1d(8, 12, 4, 2, padding=1), (2, 8, 9)),
    (nn.ConvTranspose2d(8, 12, 4, 2, padding=1, output_padding=1, groups=2), (2, 8, 9, 5)),
    (nn.ConvTranspose3d(8, 12, 3, 2, bias=False), (2, 8, 5, 4, 3)),
]


def converted(model: nn.Module, x: Tensor, qconfig: Any = per_channel_dynamic_qconfig) -> Any:
    return convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), (x,)))


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, 2),
        nn.Flatten(2),
        nn.Conv1d(6, 4, 3),
        nn.ReLU6(),
    ).eval()


@pytest.mark.parametrize(("module", "shape"), MODULES)
@pytest.mark.parametrize("qconfig", [default_dynamic_qconfig, per_channel_dynamic_qconfig])
def test_both_modes_give_the_same_numbers_near_to_float(
    module: nn.Module, shape: tuple[int, ...], qconfig: Any
) -> None:
    model, x = nn.Sequential(module), torch.randn(shape)
    graph, eager = converted(model, x, qconfig), quantize_dynamic(model, {type(module): qconfig})
    y = model(x)
    assert torch.equal(graph(x), eager(x))
    torch.testing.assert_close(graph(x), y, rtol=0, atol=0.05 * float(y.detach().abs().max()))
    assert [row.op for row in explain(graph).rows if row.precision == "dynamic"] != []
    unbatched = eager(x[1])
    assert torch.equal(unbatched, eager(x)[1])  # its scale is its own


@pytest.mark.parametrize(("module", "shape"), MODULES)
def test_the_weight_of_a_module_is_as_torch_has_it(module: Any, shape: tuple[int, ...]) -> None:
    quantized: Any = quantize_dynamic(nn.Sequential(module), {"": per_channel_dynamic_qconfig})[0]
    weight = quantized.weight()
    assert weight.int_repr().dtype is torch.int8
    scales = weight.q_per_channel_scales()
    outputs = 1 if module.transposed else 0
    steps = scales.reshape([-1 if dim == outputs else 1 for dim in range(module.weight.dim())])
    torch.testing.assert_close(weight.dequantize(), module.weight.detach(), rtol=0, atol=float(scales.max()) * 0.501)
    assert torch.equal(weight.dequantize(), weight.int_repr() * steps)
    assert torch.equal(quantized.bias(), torch.zeros(12) if module.bias is None else module.bias.detach())
    assert (quantized.in_channels, quantized.stride, quantized.groups) == (8, module.stride, module.groups)


def test_it_is_the_formula() -> None:
    module, x = nn.Conv2d(4, 5, 3, padding=1), torch.randn(2, 4, 6, 7)
    quantized: Any = quantize_dynamic(nn.Sequential(module), {"0": per_channel_dynamic_qconfig})[0]
    weight = quantized.weight()
    operands = (weight.int_repr(), weight.q_per_channel_scales(), quantized.bias())
    settings = ((1, 1), (1, 1), (1, 1), 1)
    assert torch.equal(quantized(x), dynamic_conv2d(x, *operands, Dynamic(), FloatOutput(), *settings))


def test_activations_are_a_part_of_it_and_layers_one_program() -> None:
    model, x = network(), torch.randn(2, 3, 4, 5)
    quantized = converted(model, x)
    rows = [(row.op, row.absorbed) for row in explain(quantized).rows if row.precision == "dynamic"]
    assert rows == [
        ("DynamicConv2d", ("BatchNorm2d", "ReLU")),
        ("DynamicConvTranspose2d", ()),
        ("DynamicConv2d", ("ReLU6",)),
    ]
    assert [name for name, _ in quantized.named_children()] == ["int8"]
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.05)
    assert quantized(torch.randn(5, 3, 6, 3)).shape == (5, 4, 6 * 2 * 3 * 2 - 2)


def test_an_image_does_not_depend_on_the_others_unless_the_qconfig_says_so() -> None:
    model, x = network(), torch.randn(3, 3, 4, 5) * torch.tensor([1.0, 1000.0, 0.1]).reshape(3, 1, 1, 1)
    quantized = converted(model, x)
    assert torch.equal(quantized(x)[2:], quantized(x[2:]))
    observer = fxquant.observer.PlaceholderObserver.with_args(
        dtype=torch.uint8, qscheme=torch.per_tensor_affine, is_dynamic=True
    )
    together = converted(model, x, fxquant.QConfig(observer, per_channel_dynamic_qconfig.weight))
    assert not torch.equal(together(x)[2:], together(x[2:]))


def test_copies_compute_the_same(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 4, 5)
    quantized = converted(network(), x)
    for copied in copies_of(quantized, tmp_path):
        assert torch.equal(copied(x), quantized(x))
    other = converted(network(), x)
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(x), quantized(x))


def test_copies_of_modules_compute_the_same() -> None:
    x, spec = torch.randn(2, 3, 4, 5), {"": per_channel_dynamic_qconfig}
    quantized, other = quantize_dynamic(network(), spec), quantize_dynamic(network(), spec)
    other.load_state_dict(quantized.state_dict())
    for copied in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized)), other):
        assert torch.equal(copied(x), quantized(x))


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_torch_export_sees_its_kernels(mode: str) -> None:
    x, model = torch.randn(2, 3, 4, 5), network()
    quantized = converted(model, x) if mode == "graph" else quantize_dynamic(model, {"": per_channel_dynamic_qconfig})
    exported = torch.export.export(quantized, (x,))
    assert torch.equal(exported.module()(x), quantized(x))
    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert {"fxquant.dynamic_quantize.default", "fxquant.dynamic_conv2d.default"} <= called


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_torch_compile_computes_the_same(mode: str) -> None:
    x, model = torch.randn(2, 3, 4, 5), network()
    quantized = converted(model, x) if mode == "graph" else quantize_dynamic(model, {"": per_channel_dynamic_qconfig})
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(quantized)(x), quantized(x), rtol=1e-5, atol=1e-5)


def test_modules_stay_float_unless_they_are_named() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Conv2d(2, 2, 3)), nn.Linear(2, 2))
    assert type(quantize_dynamic(model)[0]) is nn.Conv2d  # as in torch.ao
    for spec, found in (
        ({nn.Conv2d}, (True, True, False)),
        ({"1": per_channel_dynamic_qconfig}, (False, True, False)),
        ({model[0]: per_channel_dynamic_qconfig, nn.Linear: default_dynamic_qconfig}, (True, False, True)),
        ({"": per_channel_dynamic_qconfig, "1": None}, (True, False, True)),
    ):
        made: Any = quantize_dynamic(model, spec)
        kinds = (dynamic.Conv2d, dynamic.Conv2d, dynamic.Linear)
        assert tuple(isinstance(m, k) for m, k in zip((made[0], made[1][0], made[2]), kinds, strict=True)) == found


def test_depthwise_convolutions_stay_float_and_say_so() -> None:
    model, x = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1)).eval(), torch.randn(1, 6, 5, 5)
    rows = [(row.precision, row.reason) for row in explain(converted(model, x)).rows]
    assert rows == [
        ("float", "it is depthwise: too little is computed of each input to make up for finding its scale"),
        ("dynamic", ""),
    ]
    with pytest.warns(ConfigWarning, match="0, a Conv2d: stays float, since it is depthwise"):
        made = quantize_dynamic(model, {nn.Conv2d})
    assert [type(module).__name__ for module in made] == ["Conv2d", "Conv2d"]
    assert isinstance(made[1], dynamic.Conv2d)
    quantize_dynamic(model, {"": default_dynamic_qconfig})  # neither is named; pytest makes errors of warnings


@pytest.mark.parametrize(
    ("qconfig", "message"),
    [
        (get_default_qconfig(), "0, a Conv2d, cannot be quantized: its qconfig is not dynamic"),
        (per_channel_dynamic_qconfig_16bit, "0, a Conv2d, cannot be quantized: .* torch.int16 weights"),
    ],
)
def test_a_module_refuses_other_qconfigs(qconfig: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quantize_dynamic(nn.Sequential(nn.Conv2d(1, 2, 3)), {nn.Conv2d: qconfig})


def test_a_module_refuses_what_it_cannot_take() -> None:
    spec = {"": per_channel_dynamic_qconfig}
    conv = quantize_dynamic(nn.Sequential(nn.Conv2d(3, 4, 3)), spec)[0]
    transposed = quantize_dynamic(nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), spec)[0]
    x = torch.randn(1, 3, 5, 5)
    for module, inputs, message in (
        (conv, (x.double(),), "it takes a float32 tensor, not torch.float64"),
        (conv, (x[0, 0],), "a Conv2d takes \\[N, C, ...\\] or \\[C, ...\\] of 2 sizes, not \\[5, 5\\]"),
        (conv, (x[:, :2],), "of 3 channels"),
        (conv, (x[..., :2],), "gives no output"),
        (transposed, (x, [7, 7]), "it takes no output_size"),
    ):
        with pytest.raises(InputError, match=message):
            module(*inputs)


def test_an_empty_batch() -> None:
    x = torch.randn(1, 3, 5, 5)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    assert converted(model, x)(x[:0]).shape == (0, 4, 5, 5)
    assert quantize_dynamic(model, {"": per_channel_dynamic_qconfig})(x[:0]).shape == (0, 4, 5, 5)
