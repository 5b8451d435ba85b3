from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import absorb_biases, calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.analysis.measures import sqnr_db
from fxquant.demo import data, metrics, packages
from fxquant.demo.demo import run
from fxquant.errors import ConfigError, ConfigWarning

MAPPING = get_default_qconfig_mapping()


def high(layer: Any, channels: list[int], by: float) -> Any:
    """The layer, with channels that are always far from 0."""
    with torch.no_grad():
        layer.bias[channels] += by
    return layer


def linears() -> tuple[nn.Module, Tensor]:
    a = high(nn.Linear(16, 32), [3, 7, 20], 40.0)
    return Written(lambda m, x: m.b(F.relu(m.a(x))), a=a, b=nn.Linear(32, 8)), torch.randn(64, 16)


def convolutions() -> tuple[nn.Module, Tensor]:
    a = high(nn.Conv2d(4, 8, 3, padding=1), [2], 40.0)
    code = lambda m, x: m.b(y := F.hardtanh(m.a(x), 0.0, 90.0)) + m.c(y)[..., 1:-1, 1:-1]  # noqa: E731
    return Written(code, a=a, b=nn.Conv2d(8, 8, 3, groups=8, bias=False), c=nn.Conv2d(8, 8, 1)), torch.randn(8, 4, 9, 9)


@pytest.mark.parametrize(("network", "gain"), [(linears, 6), (convolutions, 1)])
def test_the_float_model_stays_the_same_and_the_range_shrinks(network: Any, gain: float) -> None:
    torch.manual_seed(0)
    model, x = network()
    prepared = absorb_biases(prepare_fx(model, MAPPING, (x,)), [x])
    torch.testing.assert_close(prepared(x), model(x), atol=1e-4, rtol=1e-4)
    before, after = model.get_parameter("a.bias"), prepared.get_parameter("a.bias")
    assert before.max() > 39
    assert after.max() < 10
    plain, absorbed = (
        sqnr_db(model(x), convert_fx(calibrate(each, [x], progress=False))(x))
        for each in (prepare_fx(model, MAPPING, (x,)), prepared)
    )
    assert absorbed > plain + gain
    assert model.get_parameter("a.bias").max() > 39


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda m, x: m.b(torch.sigmoid(m.a(x))), "a .* is not followed by a relu alone"),
        (lambda m, x: m.b(F.hardtanh(m.a(x))), "does not clamp from 0"),
        (lambda m, x: F.relu(m.a(x)), "it is an output of the model"),
        (lambda m, x: m.padded(F.relu(m.a(x))), "padded .* pads it with zeros"),
        (lambda m, x: m.b(F.relu(m.b(m.a(x)))), "the weight or bias of b .* is shared or computed"),
        (lambda m, x: x.sin(), "as it has none"),
    ],
)
def test_what_is_left_as_it_is_and_why(code: Any, reason: str) -> None:
    torch.manual_seed(0)
    a, padded = high(nn.Conv2d(8, 8, 1), [1], 40.0), nn.Conv2d(8, 8, 3, padding=1)
    model, x = Written(code, a=a, b=nn.Conv2d(8, 8, 1), padded=padded), torch.randn(2, 8, 9, 9)
    prepared = prepare_fx(model, MAPPING, (x,))
    with pytest.warns(ConfigWarning, match="absorb_biases could not absorb any bias of the model"):
        absorb_biases(prepared, [x])
    refusals = [each for node in prepared.graph.nodes for each in node.meta.get("refusals", ())]
    assert not refusals or any(re.search(reason, each) for each in refusals), refusals
    torch.testing.assert_close(prepared(x), model(x), atol=1e-5, rtol=1e-5)


def test_a_channel_near_the_upper_bound_and_one_near_zero_keep_their_bias() -> None:
    torch.manual_seed(0)
    a = high(nn.Conv2d(4, 8, 1), [2], 5.0)
    model = Written(lambda m, x: m.b(F.relu6(m.a(x))), a=a, b=nn.Conv2d(8, 4, 1))
    x = torch.randn(2, 4, 9, 9)
    prepared = absorb_biases(prepare_fx(model, MAPPING, (x,)), [x])
    torch.testing.assert_close(prepared.get_parameter("a.bias"), model.get_parameter("a.bias"))


def test_what_makes_no_sense_is_refused() -> None:
    model, x = linears()
    with pytest.raises(ConfigError, match="absorb_biases takes what prepare_fx returned"):
        absorb_biases(model, [x])


@pytest.mark.slow
@pytest.mark.skipif(bool(packages.missing_packages()), reason=f"run: {packages.install_command()}")
def test_real_mobilenet_v2_keeps_its_answers() -> None:
    model, images = data.load_network("mobilenetv2"), data.center_crops("mobilenetv2")
    prepared = fxquant.equalize_channels(prepare_fx(model, MAPPING, (images[:1],)), [images])
    absorb_biases(prepared, [images])
    changed = [name for name, p in prepared.named_parameters() if name.endswith("bias")]
    assert changed
    assert metrics.sqnr_db(run(model, images), run(prepared, images)) > 30
