"""Fake-quantizes compute what int8 will, and pass gradients straight through."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import (
    FakeQuantize,
    FixedQParamsFakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    calibrate,
    convert_fx,
    default_embedding_fake_quant,
    default_fixed_qparams_range_0to1_observer,
    default_fused_per_channel_wt_fake_quant,
    default_observer,
    disable_fake_quant,
    disable_observer,
    enable_fake_quant,
    enable_observer,
    fake_quantize,
    get_default_qat_qconfig_mapping,
    prepare_qat_fx,
    qparams,
)
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.fake_quantize import _LearnableFakeQuantize

INSTANCES = [name for name in fake_quantize.__all__ if "default" in name or name.startswith("fused_")]


@pytest.mark.parametrize("name", INSTANCES)
def test_every_default_is_within_half_a_step_inside_its_range(name: str) -> None:
    made = getattr(fake_quantize, name)()
    positive = "0to1" in name or "affine" in name
    x = torch.rand(6, 5) if positive else 2 * torch.rand(6, 5) - 1
    y = made(x)
    scale = made.scale.reshape(-1, *[1] * (made.scale.numel() > 1))
    inside = (y - x).abs() <= scale * 0.5001
    assert inside.float().mean() > 0.9  # the greatest value of an asymmetric range may be cut
    assert y.unique().numel() > 5


def test_forward_is_quantize_and_dequantize_and_backward_is_a_mask() -> None:
    made: Any = FakeQuantize(MinMaxObserver, quant_min=0, quant_max=15)
    made(torch.tensor([-1.0, 1.0]))
    made.disable_observer()
    x = torch.tensor([-2.0, -0.9, 0.04, 0.9, 2.0], requires_grad=True)
    y = made(x)
    q = made.qparams()
    assert torch.equal(y, qparams.dequantize(qparams.quantize(x.detach(), q), q))
    (3 * y).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, 3.0, 3.0, 3.0, 0.0]))


def test_per_channel_gradients_follow_each_channels_own_range() -> None:
    made: Any = default_fused_per_channel_wt_fake_quant()
    made(torch.tensor([[-1.0, 1.0], [-10.0, 10.0]]))
    made.disable_observer()
    x = torch.full((2, 1), 5.0, requires_grad=True)
    made(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([[0.0], [1.0]]))


def test_switches_work_on_all_modules_of_a_model() -> None:
    model = nn.Sequential(FakeQuantize(), nn.ReLU(), FakeQuantize())
    x = torch.randn(50)
    model(x)
    before = model[0].scale.clone()
    model.apply(disable_observer)
    model(10 * x)
    assert torch.equal(model[0].scale, before)
    model.apply(disable_fake_quant)
    assert torch.equal(model(x), torch.relu(x))
    model.apply(enable_fake_quant)
    model.apply(enable_observer)
    model(10 * x)
    assert model[0].scale > before


def test_a_state_dict_carries_qparams_and_switches() -> None:
    one, other = (default_fused_per_channel_wt_fake_quant() for _ in range(2))
    one(torch.randn(7, 3))
    one.disable_observer()
    other.load_state_dict(one.state_dict())
    x = torch.randn(7, 3)
    assert torch.equal(one(x), other(x))
    names = {"scale", "zero_point", "fake_quant_enabled", "observer_enabled", "activation_post_process.min_val"}
    assert names <= set(one.state_dict())


def test_float_zero_points_of_embedding_rows() -> None:
    rows = torch.rand(4, 16) + 5  # far from 0, where an integer zero point would waste the range
    made: Any = default_embedding_fake_quant()
    assert (made(rows) - rows).abs().max() <= made.scale.max() * 0.51
    assert made.scale.max() < 1 / 250


@pytest.mark.parametrize(
    "make",
    [
        lambda: FusedMovingAvgObsFakeQuantize(HistogramObserver),
        lambda: FixedQParamsFakeQuantize(default_observer),
        lambda: FakeQuantize(nn.ReLU),
        lambda: _LearnableFakeQuantize(MovingAverageMinMaxObserver, channel_len=3),
    ],
)
def test_observers_that_do_not_fit(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_fixed_ranges_do_not_move() -> None:
    made: Any = FixedQParamsFakeQuantize(default_fixed_qparams_range_0to1_observer)
    made(torch.randn(100) * 7)
    assert (float(made.scale), int(made.zero_point)) == (1 / 256, 0)


def test_a_learnt_scale_finds_the_range() -> None:
    made: Any = _LearnableFakeQuantize(MovingAverageMinMaxObserver, 0, 15, scale=1.0, use_grad_scaling=True)
    x = torch.rand(2000)
    made.enable_param_learning()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(made(x), x)
        loss.backward()
        optimizer.step()
    assert float(made.scale.detach()) == pytest.approx(1 / 15, rel=0.15)
    assert float(loss) < 1.2 * (1 / 15) ** 2 / 12
    q = made.qparams()
    torch.testing.assert_close(qparams.dequantize(qparams.quantize(x, q), q), made(x).detach(), atol=1e-6, rtol=0)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))
        return y


def test_quantized_training_lowers_the_loss_and_convert_computes_what_was_trained() -> None:
    model = Small()
    x = torch.randn(64, 1, 8, 8)
    target = (x.mean((1, 2, 3)) > 0).long()
    model(x)  # statistics for the batch norm
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepared = prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping(), (x,))
    assert prepared.training
    optimizer = torch.optim.Adam(prepared.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(prepared(x), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.85 * losses[0]
    prepared.apply(disable_observer)
    prepared(x)
    quantized = convert_fx(prepared.eval())
    trained = prepared(x).detach()
    assert (quantized(x) - trained).abs().max() < 0.02 * (trained.max() - trained.min())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.drop(self.linear(x)), training=self.training)


def test_dropout_is_warned_of() -> None:
    model = Dropping()
    with pytest.warns(ConfigWarning, match=r"no values are dropped.*drop \(Dropout.*F.dropout"):
        prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (torch.randn(2, 3),))
    convert_fx(calibrate(prepared, [torch.randn(2, 3)], progress=False))
