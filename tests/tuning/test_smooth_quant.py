"""SmoothQuant on blocks with the defect that the paper describes: a few channels of activations dwarf the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn

import fxquant
from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx, smooth_quant
from fxquant.analysis.measures import sqnr_db
from fxquant.errors import CalibrationError, CalibrationWarning, ConfigError, ConfigWarning

MAPPING = get_default_qconfig_mapping()
X = torch.randn(16, 10, 32)


def block(norm: nn.Module) -> nn.Module:
    """x + mlp(norm(x)), two layers reading the norm; three channels of its output are a hundred times as large."""
    model = Written(
        lambda m, x: x + m.down(torch.relu(m.up(y := m.norm(x))) * torch.sigmoid(m.gate(y))),
        norm=norm,
        up=nn.Linear(32, 64),
        gate=nn.Linear(32, 64),
        down=nn.Linear(64, 32),
    )
    with torch.no_grad():
        norm.weight[[3, 11, 20]] *= 100  # type: ignore[index, operator]
        for layer in (model.up, model.gate):
            layer.weight[:, [3, 11, 20]] /= 100  # type: ignore[index, union-attr, operator]
    return model


def decibels(model: nn.Module, smooth: bool, **how: Any) -> float:
    prepared = prepare_fx(model, MAPPING, (X[:1],))
    if smooth:
        smooth_quant(prepared, [X[:8], X[8:]], **how)
    quantized = convert_fx(calibrate(prepared, [X], progress=False))
    other = torch.randn(16, 10, 32)
    return float(sqnr_db(model(other) - other, quantized(other) - other))


@pytest.mark.parametrize("norm", [nn.LayerNorm(32), nn.LayerNorm(32, bias=False), nn.RMSNorm(32)])
def test_outliers_move_into_the_weights(norm: nn.Module) -> None:
    torch.manual_seed(0)
    model = block(norm)
    prepared = prepare_fx(model, MAPPING, (X[:1],))
    expected = prepared(X)
    torch.testing.assert_close(smooth_quant(prepared, [X])(X), expected, atol=1e-4, rtol=1e-4)
    plain, smoothed = decibels(model, False), decibels(model, True)
    assert smoothed > plain + 10


def test_layers_get_a_norm_of_their_own_where_a_residual_reads_it_too() -> None:
    torch.manual_seed(0)
    model = block(nn.LayerNorm(32))
    model.code = lambda m, x: (y := m.norm(x)) / 100 + m.down(torch.relu(m.up(y) * torch.sigmoid(m.gate(y))))
    prepared = prepare_fx(model, MAPPING, (X[:1],))
    expected, gain = calibrate(prepared, [X])(X), model.get_parameter("norm.weight").clone()
    torch.testing.assert_close(smooth_quant(prepared, [X])(X), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(prepared.get_parameter("norm.weight"), gain)
    assert not torch.equal(prepared.get_parameter("norm.weight_1"), gain)
    norms = [node for node in prepared.graph.nodes if "norm" in node.name and node.op == "call_function"]
    assert len({node.meta["observer"] for node in norms}) == len(norms) == 2
    with pytest.warns(CalibrationWarning, match="saw no data"):
        convert_fx(smooth_quant(calibrate(prepared, [X]), [X]))


def test_alpha_one_makes_all_channels_equal_and_zero_leaves_them() -> None:
    torch.manual_seed(0)
    model = block(nn.LayerNorm(32))

    def spread(alpha: float) -> float:
        prepared = smooth_quant(prepare_fx(model, MAPPING, (X,)), [X], alpha)
        gain: Tensor = prepared.get_parameter("norm.weight").abs()
        largest = (nn.functional.layer_norm(X, (32,)).abs().amax((0, 1)) * gain).detach()
        return float(largest.max() / largest.min())

    assert spread(1.0) == pytest.approx(1.0, abs=1e-3)
    assert spread(0.5) < spread(0.1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda m, x: torch.relu(m.norm(x)), "no linear layer reads it, but .*relu.* does"),
        (lambda m, x: m.fc(m.norm(x)) + m.fc(x), "the weight of fc .* is shared or computed"),
        (lambda m, x: m.fc(nn.functional.layer_norm(x, (32,))), "has no gain and shift of its own"),
        (lambda m, x: m.fc(x), "as it has none"),
    ],
)
def test_what_is_left_as_it_is(code: Any, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = Written(code, norm=nn.LayerNorm(32), fc=nn.Linear(32, 32))
    prepared = prepare_fx(model, MAPPING, (X,))
    with fxquant.debug(3), pytest.warns(ConfigWarning, match=f"could not smooth any norm of the model.*{reason}"):
        smooth_quant(prepared, [X])
    norms = [node for node in prepared.graph.nodes if "norm" in node.name and node.op == "call_function"]
    assert all(any("smooth_quant" in each for each in node.meta["refusals"]) for node in norms)
    assert capsys.readouterr().err.count("smooth_quant refuses") == len(norms)
    torch.testing.assert_close(prepared(X), model(X))


def test_what_makes_no_sense_is_refused() -> None:
    model = block(nn.LayerNorm(32))
    with pytest.raises(ConfigError, match="prepare_fx"):
        smooth_quant(model, [X])
    with pytest.raises(ConfigError, match="alpha=2 is not between 0 and 1"):
        smooth_quant(prepare_fx(model, MAPPING, (X,)), [X], 2)
    with pytest.raises(CalibrationError, match="no batches"):
        smooth_quant(prepare_fx(model, MAPPING, (X,)), [])
