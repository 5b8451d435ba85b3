from __future__ import annotations

import copy

import pytest
import torch
from graphs import Written
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, correct_biases, equalize_channels, get_default_qconfig_mapping, prepare_fx
from fxquant.demo import data, metrics, packages
from fxquant.demo.demo import run
from fxquant.errors import CalibrationError, ConfigError, InputError
from fxquant.tuning.correct_biases import mean_shift

MAPPING = get_default_qconfig_mapping()


def prepared_on(model: nn.Module, x: Tensor) -> nn.Module:
    return calibrate(prepare_fx(model, MAPPING, (x[:1],)), [x], progress=False)


def mean_error(model: nn.Module, prepared: nn.Module, x: Tensor) -> Tensor:
    """Of each channel of the outputs."""
    error: Tensor = (convert_fx(prepared)(x) - model(x)).transpose(0, 1).flatten(1).mean(1)
    return error.abs()


def network(bias: bool = True) -> tuple[nn.Module, Tensor]:
    layers = {"a": nn.Conv2d(8, 16, 3, bias=bias), "b": nn.Conv2d(16, 8, 1, bias=bias)}
    x = torch.rand(16, 8, 12, 12) * torch.linspace(0.1, 4, 8)[:, None, None]
    return Written(lambda m, x: m.b(F.relu6(m.a(x))), **layers), x


@pytest.mark.parametrize("bias", [True, False])
def test_the_mean_error_of_each_channel_becomes_less(bias: bool) -> None:
    torch.manual_seed(0)
    model, x = network(bias)
    state = copy.deepcopy(model.state_dict())
    prepared = prepared_on(model, x)
    before = mean_error(model, prepared, x)
    assert correct_biases(prepared, x.split(5)) is prepared
    after = mean_error(model, prepared, x)
    assert after.mean() < before.mean() / 2
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_linear_layer_of_tokens() -> None:
    torch.manual_seed(0)
    model, x = Written(lambda m, x: m.a(x), a=nn.Linear(12, 6)), torch.rand(32, 5, 12)
    prepared = prepared_on(model, x)
    before = (convert_fx(prepared)(x) - model(x)).mean((0, 1)).abs()
    after = (convert_fx(correct_biases(prepared, [x]))(x) - model(x)).mean((0, 1)).abs()
    assert after.mean() < before.mean() / 2


def test_the_shift_equals_the_means_behind_a_clamp() -> None:
    torch.manual_seed(0)
    expected, error = torch.randn(4, 500) * 4, torch.tensor([0.3, -0.2, 0.0, 1.0])[:, None]
    torch.testing.assert_close(mean_shift(expected, expected + error, 0.0, 6.0), -error[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(mean_shift(expected, expected + error, None, None), -error[:, 0])


def test_a_channel_that_is_cut_off_wholly_is_left_alone() -> None:
    assert torch.equal(mean_shift(torch.full((1, 9), -5.0), torch.full((1, 9), -3.0), 0.0, None), torch.zeros(1))


def test_what_makes_no_sense_is_refused() -> None:
    model, x = network()
    with pytest.raises(ConfigError, match="prepare_fx"):
        correct_biases(model, [x])
    with pytest.raises(CalibrationError, match="saw no data"):
        correct_biases(prepare_fx(model, MAPPING, (x,)), [x])
    prepared = prepared_on(model, x)
    with pytest.raises(CalibrationError, match="no batches"):
        correct_biases(prepared, [])
    with pytest.raises(InputError, match="iterable of batches"):
        correct_biases(prepared, x)


@pytest.mark.slow
@pytest.mark.skipif(bool(packages.missing_packages()), reason=f"run: {packages.install_command()}")
def test_real_mobilenet_v2_with_equalized_channels_reaches_21_decibels() -> None:
    model, images = data.load_network("mobilenetv2"), data.center_crops("mobilenetv2")
    crops = data.all_crops("mobilenetv2")
    prepared = equalize_channels(prepare_fx(model, MAPPING, (images[:1],)), [images])
    torch.testing.assert_close(run(prepared, images), run(model, images), atol=1e-4, rtol=0)
    calibrate(prepared, [images], progress=False)
    quantized = convert_fx(correct_biases(prepared, [images]))
    expected, computed = run(model, crops), run(quantized, crops)
    assert metrics.sqnr_db(expected, computed) >= 21
    assert metrics.agreement(expected, computed) >= 0.96
