"""Weights made of parameters alone are constants; those that inputs, random numbers or training change are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import (
    calibrate,
    convert_fx,
    explain,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
    prepare_fx,
    prepare_qat_fx,
)


class Standardized(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        centered = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, centered / (centered.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


class Sliced(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:4], self.bias[:4]) + F.conv2d(x, self.weight[4:], self.bias[4:])  # type: ignore[index]


class Random(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight + torch.rand_like(self.weight), self.bias)


class OfTheInput(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * x.mean(), self.bias)


def int8_of(model: nn.Module, x: Tensor) -> nn.Module:
    return convert_fx(calibrate(prepare_fx(model.eval(), get_default_qconfig_mapping(), (x,)), [x], progress=False))


@pytest.mark.parametrize("layer", [Standardized, Sliced])
def test_a_weight_made_of_parameters_is_a_constant(layer: type[nn.Conv2d]) -> None:
    x = torch.randn(2, 3, 8, 8)
    model = nn.Sequential(layer(3, 8, 3), nn.ReLU())
    made = int8_of(model, x)
    assert all(row.precision in ("boundary", "int8") for row in explain(made).rows)
    expected = model(x)
    assert (made(x) - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("layer", [Random, OfTheInput])
def test_another_one_is_not(layer: type[nn.Conv2d]) -> None:
    x = torch.randn(2, 3, 8, 8)
    rows = explain(int8_of(nn.Sequential(layer(3, 8, 3)), x)).rows
    assert "its weight is computed, not a parameter" in [row.reason for row in rows]


def test_training_changes_it() -> None:
    x = torch.randn(2, 3, 8, 8)
    prepared = prepare_qat_fx(nn.Sequential(Standardized(3, 8, 3)).train(), get_default_qat_qconfig_mapping(), (x,))
    prepared(x).sum().backward()
    assert prepared.get_parameter("0.weight").grad is not None
