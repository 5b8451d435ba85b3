"""Calls as FX graph mode's users make them, run by torch.ao beside: both convert, and ours is no further from float."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant.demo.metrics import sqnr_db
from tests.graphs import Written

pytest.importorskip("torch.ao.quantization.quantize_fx")
ao: Any = torch.ao.quantization

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(reduce_range|deprecated|lowering|must run observer|eval mode).*"),
    pytest.mark.filterwarnings("ignore::fxquant.errors.ConfigWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

IMAGES = (8, 4, 8, 8)
ROWS = (16, 8)
VOLUMES = (4, 4, 5, 6, 7)
SEEDS = range(2)
# How much further from float, in dB, one small network may be by chance, on average over the seeds.
CHANCE = 1.5

Config = Callable[[Any], Any]


def default(library: Any) -> Any:
    return library.get_default_qconfig_mapping()


def qnnpack(library: Any) -> Any:
    return library.get_default_qconfig_mapping("qnnpack")


def as_dict(library: Any) -> Any:
    return {"": library.get_default_qconfig("fbgemm"), "object_type": [(nn.Softmax, None), ("reshape", None)]}


def only_convolutions(library: Any) -> Any:
    return library.QConfigMapping().set_object_type(nn.Conv2d, library.get_default_qconfig("x86"))


def but_for_the_first(library: Any) -> Any:
    return default(library).set_module_name("first", None)


def but_for_a_regex(library: Any) -> Any:
    return default(library).set_module_name_regex("(first|nothing)", None)


def but_for_the_second_relu(library: Any) -> Any:
    return default(library).set_module_name_object_type_order("", F.relu, 1, None)


def min_max(library: Any) -> Any:
    qconfig = library.QConfig(
        library.MinMaxObserver.with_args(dtype=torch.quint8),
        library.PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric),
    )
    return library.QConfigMapping().set_global(qconfig)


def moving_average(library: Any) -> Any:
    weight = library.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
    activation = library.MovingAverageMinMaxObserver.with_args(averaging_constant=0.1, dtype=torch.quint8)
    return library.QConfigMapping().set_global(library.QConfig(activation=activation, weight=weight))


def conv(**more: Any) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1, **more)


def trained(norm: nn.Module) -> nn.Module:
    for name, value in norm.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if "var" in name else value.uniform_(-0.5, 0.5)
    return norm


def inplace_add(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y += m.last(x)
    return y


# What is computed, with which submodules, and of an input of which shape.
MODELS: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, nn.Module]], tuple[int, ...]]] = {
    "conv_bn_relu": (
        lambda m, x: F.relu(m.bn(m.first(x))),
        lambda: {"first": conv(), "bn": trained(nn.BatchNorm2d(4))},
        IMAGES,
    ),
    "two_relus": (
        lambda m, x: F.relu(m.last(F.relu(m.first(x)))),
        lambda: {"first": conv(), "last": conv()},
        IMAGES,
    ),
    "residual": (lambda m, x: F.relu(m.first(x) + x), lambda: {"first": conv()}, IMAGES),
    "inplace_add": (inplace_add, lambda: {"first": conv(), "last": conv()}, IMAGES),
    "add_scalar": (lambda m, x: operator.add(m.first(x), 3), lambda: {"first": conv()}, IMAGES),
    "mul": (lambda m, x: torch.mul(m.first(x), m.last(x)), lambda: {"first": conv(), "last": conv()}, IMAGES),
    "functional_conv": (
        lambda m, x: F.conv2d(x, m.first.weight, m.first.bias, padding=1),
        lambda: {"first": conv()},
        IMAGES,
    ),
    "functional_linear": (
        lambda m, x: F.relu(F.linear(x, m.first.weight, m.first.bias)),
        lambda: {"first": nn.Linear(8, 6)},
        ROWS,
    ),
    "linear_relu_linear": (
        lambda m, x: m.last(torch.relu(m.first(x))),
        lambda: {"first": nn.Linear(8, 16), "last": nn.Linear(16, 4)},
        ROWS,
    ),
    "linear_reshaped": (
        lambda m, x: m.last(m.first(x).reshape(x.shape[0], -1)),
        lambda: {"first": conv(), "last": nn.Linear(256, 4)},
        IMAGES,
    ),
    "cat": (
        lambda m, x: torch.cat([m.first(x), m.last(x)], dim=1),
        lambda: {"first": conv(), "last": conv()},
        IMAGES,
    ),
    "sigmoid": (lambda m, x: torch.sigmoid(m.first(x)), lambda: {"first": conv()}, IMAGES),
    "tanh": (lambda m, x: m.act(m.first(x)), lambda: {"first": conv(), "act": nn.Tanh()}, IMAGES),
    "hardswish": (lambda m, x: F.hardswish(m.first(x)), lambda: {"first": conv()}, IMAGES),
    "hardsigmoid": (lambda m, x: F.hardsigmoid(m.first(x), inplace=True), lambda: {"first": conv()}, IMAGES),
    "elu": (lambda m, x: m.act(m.first(x)), lambda: {"first": conv(), "act": nn.ELU()}, IMAGES),
    "leaky_relu": (lambda m, x: F.leaky_relu(m.first(x), 0.2), lambda: {"first": conv()}, IMAGES),
    "prelu": (lambda m, x: m.act(m.first(x)), lambda: {"first": conv(), "act": nn.PReLU()}, IMAGES),
    "pools": (
        lambda m, x: F.adaptive_avg_pool2d(F.max_pool2d(m.first(x), 2), (1, 1)),
        lambda: {"first": conv()},
        IMAGES,
    ),
    "mean": (lambda m, x: m.first(x).mean([2, 3]), lambda: {"first": conv()}, IMAGES),
    "shapes": (
        lambda m, x: torch.transpose(m.first(x).permute(0, 2, 3, 1).contiguous(), 1, 2).unsqueeze(0).squeeze(0),
        lambda: {"first": conv()},
        IMAGES,
    ),
    "chunk": (lambda m, x: torch.chunk(m.first(x), 2, dim=1)[1], lambda: {"first": conv()}, IMAGES),
    "interpolate": (lambda m, x: F.interpolate(m.first(x), 11), lambda: {"first": conv()}, IMAGES),
    "conv_transpose": (
        lambda m, x: m.last(m.first(x)),
        lambda: {"first": conv(), "last": nn.ConvTranspose2d(4, 6, 2, stride=2)},
        IMAGES,
    ),
    "conv_transpose_bn": (
        lambda m, x: F.relu(m.bn(m.last(m.first(x)))),
        lambda: {
            "first": conv(),
            "last": nn.ConvTranspose2d(4, 8, 3, 2, 1, 1, groups=2),
            "bn": trained(nn.BatchNorm2d(8)),
        },
        IMAGES,
    ),
    "conv_transpose1d": (lambda m, x: m.first(x), lambda: {"first": nn.ConvTranspose1d(8, 4, 4, 2)}, (4, 8, 10)),
    "conv_transpose3d": (lambda m, x: m.first(x), lambda: {"first": nn.ConvTranspose3d(4, 4, 2, 2)}, VOLUMES),
    "conv3d_bn_relu": (
        lambda m, x: F.relu(m.bn(m.first(x))),
        lambda: {"first": nn.Conv3d(4, 8, 3, padding=1), "bn": trained(nn.BatchNorm3d(8))},
        VOLUMES,
    ),
    "conv3d_strided": (lambda m, x: m.first(x), lambda: {"first": nn.Conv3d(4, 6, (1, 3, 2), (2, 1, 2))}, VOLUMES),
    "pools_of_volumes": (
        lambda m, x: F.adaptive_avg_pool3d(F.avg_pool3d(F.max_pool3d(m.first(x), 2), 2), 1).flatten(1),
        lambda: {"first": nn.Conv3d(4, 6, 3)},
        (4, 4, 10, 10, 10),
    ),
    "norm_alone_of_volumes": (
        lambda m, x: m.bn(F.relu(m.first(x))),
        lambda: {"first": nn.Conv3d(4, 6, 1), "bn": trained(nn.BatchNorm3d(6))},
        VOLUMES,
    ),
    "max_of_two": (
        lambda m, x: m.last(torch.maximum(m.first(x), m.last(x))),
        lambda: {"first": conv(), "last": conv()},
        IMAGES,
    ),
    "difference": (lambda m, x: m.first(x) - m.last(x), lambda: {"first": conv(), "last": conv()}, IMAGES),
    "square": (lambda m, x: m.last(m.first(x) ** 2), lambda: {"first": conv(), "last": conv()}, IMAGES),
    "gather": (
        lambda m, x: torch.index_select(m.first(x), 1, torch.tensor([2, 0, 0])),
        lambda: {"first": conv()},
        IMAGES,
    ),
    "conv1d": (lambda m, x: m.first(x), lambda: {"first": nn.Conv1d(8, 4, 3)}, (4, 8, 10)),
    "dropout": (
        lambda m, x: m.last(F.dropout(m.drop(m.first(x)), training=m.training)),
        lambda: {"first": conv(), "drop": nn.Dropout(), "last": conv()},
        IMAGES,
    ),
    "identity": (lambda m, x: m.same(m.first(x)), lambda: {"first": conv(), "same": nn.Identity()}, IMAGES),
    "layer_norm": (
        lambda m, x: m.norm(m.first(x)),
        lambda: {"first": nn.Linear(8, 8), "norm": nn.LayerNorm(8)},
        ROWS,
    ),
    "softmax": (lambda m, x: m.last(m.first(x)), lambda: {"first": nn.Linear(8, 8), "last": nn.Softmax(-1)}, ROWS),
    "clamp": (lambda m, x: torch.clamp(m.first(x), -0.3, 0.3), lambda: {"first": conv()}, IMAGES),
    "shared_layer": (lambda m, x: m.first(m.first(x)), lambda: {"first": conv()}, IMAGES),
    "nothing_to_quantize": (lambda m, x: x * 1.0 if m is None else x.reshape(8, -1), dict, IMAGES),
    "several_outputs": (
        lambda m, x: {"a": m.first(x), "b": [m.last(x), x]},
        lambda: {"first": conv(), "last": conv()},
        IMAGES,
    ),
}
# The models whose layers a config speaks of.
CONFIGS: dict[str, tuple[Config, tuple[str, ...]]] = {
    "qnnpack": (qnnpack, ("conv_bn_relu", "linear_relu_linear", "residual")),
    "as_dict": (as_dict, ("linear_reshaped", "softmax")),
    "only_convolutions": (only_convolutions, ("linear_reshaped", "conv_bn_relu", "pools")),
    "but_for_the_first": (but_for_the_first, ("two_relus", "linear_relu_linear")),
    "but_for_a_regex": (but_for_a_regex, ("two_relus", "cat")),
    "but_for_the_second_relu": (but_for_the_second_relu, ("two_relus",)),
    "min_max": (min_max, ("conv_bn_relu", "residual", "linear_relu_linear", "mul")),
    "moving_average": (moving_average, ("conv_bn_relu", "cat", "linear_reshaped")),
}
CASES = [("default", model) for model in MODELS] + [(c, model) for c in CONFIGS for model in CONFIGS[c][1]]


def made(model: str, seed: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    code, modules, shape = MODELS[model]
    return Written(code, **modules()), torch.randn(shape)


def converted(library: Any, model: nn.Module, mapping: Any, x: Tensor) -> Any:
    prepared = library.quantize_fx.prepare_fx(copy.deepcopy(model), mapping, (x,))
    for batch in (x, 0.8 * x):
        prepared(batch)
    return library.quantize_fx.convert_fx(prepared)


def tensors(value: Any) -> Tensor:
    """All numbers of a result in one row."""
    leaves = torch.utils._pytree.tree_leaves(value)
    return torch.cat([(x.dequantize() if x.is_quantized else x).detach().reshape(-1) for x in leaves])


@pytest.mark.slow
@pytest.mark.parametrize(("config", "model"), CASES)
def test_both_convert_and_ours_is_no_further_from_float(config: str, model: str) -> None:
    configured = CONFIGS[config][0] if config in CONFIGS else default
    gains = []
    for seed in SEEDS:
        network, x = made(model, seed)
        expected = tensors(network(x))
        ours = tensors(converted(fxquant, network, configured(fxquant), x)(x))
        if (config, model) in BROKEN_THERE:
            assert sqnr_db(expected, ours) > 30
            with pytest.raises(BROKEN_THERE[config, model]):
                converted(ao, network, configured(ao), x)
            return
        theirs = tensors(converted(ao, network, configured(ao), x)(x))
        gains.append(min(sqnr_db(expected, ours), 120) - min(sqnr_db(expected, theirs), 120))
    assert sum(gains) / len(gains) > -CHANCE


# What torch.ao cannot convert, with the error that it raises.
BROKEN_THERE: dict[tuple[str, str], type[Exception]] = {
    ("default", "functional_conv"): RuntimeError,  # packing takes stride, padding … by position only
    ("only_convolutions", "conv_bn_relu"): LookupError,  # all types of a fused pattern want one qconfig
}


@pytest.mark.parametrize("model", ["conv_bn_relu", "linear_relu_linear", "cat", "sigmoid"])
def test_their_mapping_given_to_us(model: str) -> None:
    network, x = made(model, 0)
    expected = network(x)
    theirs = converted(ao, network, default(ao), x)(x)
    ours = converted(fxquant, network, default(ao), x)(x)
    assert sqnr_db(expected, ours) > sqnr_db(expected, tensors(theirs).reshape(expected.shape)) - CHANCE


def test_stubs_and_functionals_of_either_library() -> None:
    for library, functional in ((ao, torch.ao.nn.quantized.FloatFunctional), (fxquant, fxquant.FloatFunctional)):
        model = Written(
            lambda m, x: m.dequant(m.f.add_relu(m.first(m.quant(x)), m.f.mul_scalar(m.g.cat([x, x], 1)[:, :4], 0.5))),
            quant=library.QuantStub(),
            first=conv(),
            f=functional(),
            g=functional(),
            dequant=library.DeQuantStub(),
        )
        x = torch.randn(IMAGES)
        quantized = converted(fxquant, model, default(fxquant), x)
        assert sqnr_db(model(x), quantized(x)) > 30
        assert not any("Stub" in row.op for row in fxquant.explain(quantized).rows)
        assert sum(row.precision == "int8" for row in fxquant.explain(quantized).rows) >= 2


def test_a_wrapped_model() -> None:
    x = torch.randn(IMAGES)
    for wrapper in (ao.QuantWrapper, fxquant.QuantWrapper):
        model = wrapper(nn.Sequential(conv(), nn.ReLU()).eval()).eval()
        quantized = converted(fxquant, model, default(fxquant), x)
        assert sqnr_db(model(x), quantized(x)) > 30


def test_users_read_and_carry_over_what_observers_learnt() -> None:
    network, x = made("conv_bn_relu", 0)
    first = fxquant.prepare_fx(network, default(fxquant), (x,))
    first(x)
    state = fxquant.get_observer_state_dict(first)
    assert any(key.startswith("activation_post_process_0.") for key in state)
    assert not any(key.startswith("first.weight") and "observer" not in key for key in state)
    second = fxquant.prepare_fx(network, default(fxquant), (x,))
    fxquant.load_observer_state_dict(second, state)
    assert torch.equal(fxquant.convert_fx(first)(x), fxquant.convert_fx(second)(x))
    with pytest.raises(fxquant.errors.ConfigError, match="not the observers of the model"):
        fxquant.load_observer_state_dict(second, {"activation_post_process_9.min_val": torch.zeros(())})
