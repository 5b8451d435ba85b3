from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from graphs import Written
from torch import nn
from torch.nn import functional as F

import fxquant
from fxquant import calibrate, convert_fx, equalize_channels, get_default_qconfig_mapping, prepare_fx
from fxquant.analysis.measures import sqnr_db
from fxquant.errors import CalibrationError, ConfigError, ConfigWarning
from fxquant.tuning.equalize_channels import reach

MAPPING = get_default_qconfig_mapping()


@pytest.mark.parametrize(
    "code", [lambda m, x: m.b(F.relu6(m.a(x))), lambda m, x: m.b(m.a(x) + m.c(x)), lambda m, x: m.b(m.a(x) + 1)]
)
def test_the_float_model_stays_the_same(code: Any) -> None:
    torch.manual_seed(0)
    model = Written(code, a=nn.Conv2d(8, 16, 3), b=nn.Conv2d(16, 8, 1), c=nn.Conv2d(8, 16, 3))
    x = torch.randn(4, 8, 9, 9)
    prepared = equalize_channels(prepare_fx(model, MAPPING, (x,)), [x])
    torch.testing.assert_close(prepared(x), model(x), atol=1e-4, rtol=0)


def uneven() -> nn.Module:
    """Two convolutions with channels of very different range between them, which the second one makes up for."""
    model = Written(lambda m, x: m.b(F.relu(m.a(x))), a=nn.Conv2d(8, 16, 3), b=nn.Conv2d(16, 16, 3, groups=16))
    factor = torch.logspace(0, 2, 16)
    with torch.no_grad():
        model.a.weight.mul_(factor[:, None, None, None])  # type: ignore[union-attr, operator]
        model.a.bias.mul_(factor)  # type: ignore[union-attr, operator]
        model.b.weight.div_(factor[:, None, None, None])  # type: ignore[union-attr, operator]
    return model


def test_small_channels_gain_on_data_that_were_not_seen() -> None:
    torch.manual_seed(0)
    model, x, unseen = uneven(), torch.randn(4, 8, 12, 12), torch.randn(8, 8, 12, 12)
    before = copy.deepcopy(model.state_dict())

    def decibels(equalized: bool) -> float:
        prepared = prepare_fx(model, MAPPING, (x,))
        if equalized:
            equalize_channels(prepared, [x])
        return float(sqnr_db(model(unseen), convert_fx(calibrate(prepared, [x], progress=False))(unseen)))

    assert decibels(True) > decibels(False) + 6
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bias", [-100.0, -1.5])
def test_a_channel_that_is_dead_on_most_of_the_data_is_not_stretched_before_a_clamp(bias: float) -> None:
    torch.manual_seed(0)
    model = Written(lambda m, x: m.b(F.relu6(m.a(x))), a=nn.Conv2d(8, 4, 1), b=nn.Conv2d(4, 4, 1))
    x = torch.randn(32, 8, 2, 2)
    with torch.no_grad():
        model.a.weight[3] /= 8  # type: ignore[index, operator, union-attr]
        model.a.bias[3] = 0.1  # type: ignore[index, operator, union-attr]
        model.a.bias[2] = bias  # type: ignore[index, operator, union-attr]
    prepared = equalize_channels(prepare_fx(model, MAPPING, (x,)), [x])
    stretched = (prepared.get_parameter("a.weight") / model.get_parameter("a.weight")).detach().amax((1, 2, 3))
    assert stretched[2] == pytest.approx(1.0)
    assert stretched[3] > 1.2


def test_how_far_others_may_reach() -> None:
    peaks = torch.tensor([[2.0, 0.0, 4.0], [2.0, 0.0, 0.0]])
    assert reach(peaks).tolist() == [2.0, torch.inf, 16.0]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda m, x: torch.sigmoid(m.a(x)), "sigmoid.* reads it, and is no convolution"),
        (lambda m, x: m.a(x), "it is an output of the model"),
        (lambda m, x: m.grouped(m.a(x)), "grouped .* reads it in groups"),
        (lambda m, x: m.b(F.hardtanh(m.a(x))), "does not clamp from 0"),
        (lambda m, x: m.b(F.relu(m.a(x)) + 1), "adds a number, or a value to itself"),
        (lambda m, x: m.b(m.a(x) + x.mean(1, keepdim=True)), "is part of the sum, and not a convolution's"),
        (lambda m, x: m.b(m.b(m.a(x))), "the weight or bias of b .* is shared or computed"),
        (lambda m, x: x.sin(), "as it has no 2-d convolutions"),
    ],
)
def test_what_is_left_as_it_is_and_why(code: Any, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    layers = {"a": nn.Conv2d(8, 8, 3, padding=1), "b": nn.Conv2d(8, 8, 1), "grouped": nn.Conv2d(8, 8, 1, groups=2)}
    model, x = Written(code, **layers), torch.randn(2, 8, 9, 9)
    prepared = prepare_fx(model, MAPPING, (x,))
    state = copy.deepcopy(prepared.state_dict())
    with fxquant.debug(3), pytest.warns(ConfigWarning, match="could not stretch any channel"):
        equalize_channels(prepared, [x])
    said = capsys.readouterr().err
    refusals = [each for node in prepared.graph.nodes for each in node.meta.get("refusals", ())]
    assert all(each.startswith("equalize_channels: ") for each in refusals)
    assert said.count("equalize_channels refuses") == len(refusals)
    if "2-d" not in reason:
        assert any(re.search(reason, each) for each in refusals), refusals
    weights = [name for name in state if name.endswith("weight")]
    assert all(torch.equal(prepared.state_dict()[name], state[name]) for name in weights)


def test_what_makes_no_sense_is_refused() -> None:
    model, x = uneven(), torch.randn(2, 8, 9, 9)
    with pytest.raises(ConfigError, match="equalize_channels takes what prepare_fx returned"):
        equalize_channels(model, [x])
    with pytest.raises(CalibrationError, match="data holds no batches"):
        equalize_channels(prepare_fx(model, MAPPING, (x,)), [])


def test_a_weight_with_one_scale_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    x = torch.rand(2, 3, 8, 8)
    one_scale = fxquant.QConfig(fxquant.default_observer, fxquant.default_weight_observer)
    prepared = prepare_fx(model, fxquant.QConfigMapping().set_global(one_scale), (x,))
    before = copy.deepcopy(prepared.state_dict())
    with pytest.warns(ConfigWarning, match="one scale for its weight"):
        equalize_channels(prepared, [x])
    assert all(torch.equal(prepared.state_dict()[name], before[name]) for name in before if name.endswith("weight"))
