"""Linear layers with a scale for each group of inputs, from the QConfig to the finished model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxquant
from fxquant import QConfig, QConfigMapping, calibrate, convert_fx, convert_to_reference_fx, explain, prepare_fx
from fxquant.errors import ConfigError
from fxquant.observer import PerGroupMinMaxObserver, default_histogram_observer, default_per_channel_weight_observer


def qconfig(size: int) -> QConfig:
    return QConfig(default_histogram_observer, PerGroupMinMaxObserver.with_args(group_size=size))


def outliers() -> nn.Module:
    """A network with a few inputs of large weights, whose scale the other inputs suffer from."""
    model = nn.Sequential(nn.Linear(128, 96), nn.ReLU(), nn.Linear(96, 10, bias=False)).eval()
    model[0].weight.data[:, :3] *= 300
    return model


def data(count: int = 64) -> Tensor:
    x = torch.randn(count, 128)
    x[:, :3] = 0
    return x


def converted(model: nn.Module, config: QConfig, convert: Any = convert_fx) -> Any:
    prepared = prepare_fx(model, QConfigMapping().set_global(config), (data(),))
    return convert(calibrate(prepared, [data(256)], progress=False))


def test_qparams_of_groups() -> None:
    observer = PerGroupMinMaxObserver(group_size=4)
    weight = torch.arange(24.0).reshape(2, 12)
    assert observer(weight) is weight
    q = observer.qparams()
    assert torch.equal(q.scale, torch.tensor([[3.0, 7, 11], [15, 19, 23]]) / 127)
    assert (q.zero_point, q.axis) == (0, None)
    real = fxquant.qparams.dequantize(fxquant.qparams.quantize(weight, q), q)
    assert (real - weight).abs().max() <= 23 / 127 / 2 + 1e-6


def test_groups_hold_outliers_apart() -> None:
    model, x = outliers(), data()
    per_channel = converted(model, QConfig(default_histogram_observer, default_per_channel_weight_observer))
    grouped = converted(model, qconfig(8))  # one of 16 groups has the outliers
    assert [row.op for row in explain(grouped).rows if row.precision == "int8"] == ["Int8LinearGrouped"] * 2
    exact = model(x)
    assert (grouped(x) - exact).norm() < (per_channel(x) - exact).norm() / 3
    reference = converted(model, qconfig(8), convert_to_reference_fx)
    assert (reference(x) - grouped(x)).norm() < 0.02 * exact.norm()


def test_a_region_computes_what_its_nodes_do(isa: str, threads: int) -> None:
    model = converted(outliers(), qconfig(16))
    [region] = [m for m in model.modules() if isinstance(m, fxquant.runtime.region.Int8Region)]
    x = torch.randn(7, 128)
    assert torch.equal(region(x), region.node_by_node(x))


def test_a_finished_model_is_a_normal_one(tmp_path: Path) -> None:
    model, x = converted(outliers(), qconfig(32)), data()
    other = converted(outliers(), qconfig(32))
    other.load_state_dict(model.state_dict())
    fxquant.save(model, tmp_path / "model")
    for each in (other, copy.deepcopy(model), fxquant.load(tmp_path / "model")):
        assert torch.equal(each(x), model(x))


def test_what_cannot_have_groups_stays_float_and_says_why() -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 126, 5)).eval()
    prepared = prepare_fx(model, QConfigMapping().set_global(qconfig(64)), (data()[:, None],))
    reasons = [row.reason for row in explain(convert_fx(prepared)).float_rows]
    assert "its qconfig asks for groups of 64 inputs; only linear has a kernel for groups" in reasons
    assert "its qconfig asks for groups of 64 inputs, which do not divide its 504" in reasons


def test_a_residual_is_added_behind_it() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(128, 128)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.linear(x) + x)

    model, x = Block().eval(), data()
    quantized = converted(model, qconfig(32))
    ops = [row.op for row in explain(quantized).rows]
    assert "Int8LinearGrouped" in ops
    assert "Int8Add" in ops
    assert (quantized(x) - model(x)).norm() < 0.03 * model(x).norm()


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="groups are of one input or more"):
        PerGroupMinMaxObserver(group_size=0)
    with pytest.raises(ConfigError, match="does not divide the last dimension"):
        PerGroupMinMaxObserver(group_size=5)(torch.ones(3, 12))
    with pytest.raises(ConfigError, match="divides the inputs of matrices"):
        PerGroupMinMaxObserver(group_size=4)(torch.ones(3, 4, 1))
