"""Models of volumes and of transposed convolutions as users handle them: other sizes, files, training, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from regions import assert_planned_right, quantized
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import calibrate, convert_fx, explain, get_default_qat_qconfig_mapping, prepare_qat_fx
from fxquant.demo.metrics import sqnr_db


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU())
        self.down = nn.Conv3d(8, 12, 3, stride=2, padding=1, groups=2)
        self.up = nn.Sequential(nn.ConvTranspose3d(12, 8, 2, 2, bias=False), nn.BatchNorm3d(8), nn.ReLU())
        self.head = nn.Conv3d(8, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        y = torch.maximum(self.up(self.down(x)), x)
        return self.head(y), F.adaptive_avg_pool3d(F.max_pool3d(y, 2), 1).flatten(1)


X = (2, 3, 4, 6, 8)


def network() -> Network:
    model = Network()
    model(2 * torch.randn(8, *X[1:]))  # statistics of the batch norms
    return model.eval()


def test_every_layer_is_integer_for_every_size_and_batch() -> None:
    model, x = network(), torch.randn(X)
    converted = quantized(model, x)
    assert explain(converted).float_rows == ()
    for size in ((1, 4, 6, 8), (3, 2, 4, 4), (2, 6, 8, 10)):
        other = torch.randn(size[0], 3, *size[1:])
        assert_planned_right(converted, other)
        for ours, theirs in zip(converted(other), model(other), strict=True):
            assert sqnr_db(theirs, ours) > 20
    assert_planned_right(converted, torch.randn(X).contiguous(memory_format=torch.channels_last_3d))


def test_a_file_and_a_state_dict_hold_it(tmp_path: Path) -> None:
    x = torch.randn(X)
    converted = quantized(network(), x)
    fxquant.save(converted, tmp_path / "model")
    for loaded in (fxquant.load(tmp_path / "model"), quantized(network(), 2 * x)):
        loaded.load_state_dict(converted.state_dict())
        for one, other in zip(loaded(x), converted(x), strict=True):
            assert torch.equal(one, other)


def test_it_exports() -> None:
    x = torch.randn(X)
    converted = quantized(network(), x)
    exported: Any = torch.export.export(converted, (x,)).module()
    for one, other in zip(exported(x), converted(x), strict=True):
        assert torch.equal(one, other)


def test_it_trains() -> None:
    x = torch.randn(X)
    prepared: Any = prepare_qat_fx(network().train(), get_default_qat_qconfig_mapping(), (x,))
    optimizer = torch.optim.SGD(prepared.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        sum(y.square().mean() for y in prepared(x)).backward()
        optimizer.step()
    assert prepared.get_parameter("up.0.weight").grad.abs().sum() > 0
    prepared.eval()
    converted = convert_fx(prepared)
    assert explain(converted).float_rows == ()
    for trained, integer in zip(prepared(x), converted(x), strict=True):
        assert sqnr_db(trained, integer) > 30


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_transposed_convolution_has_scales_of_its_channels(groups: int) -> None:
    """Channels of very different size, of which one scale for all would lose the smallest."""
    up = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=groups)
    with torch.no_grad():
        size = torch.logspace(-3, 0, 8 if groups == 8 else 8 // groups)
        up.weight.mul_(size[:, None, None, None] if groups == 8 else size[None, :, None, None])
        up.bias.zero_()
    x = torch.rand(2, 8, 9, 9)
    prepared = fxquant.prepare_fx(up, fxquant.get_default_qconfig_mapping(), (x,))
    converted = convert_fx(calibrate(prepared, [x], progress=False))
    layer = next(m for m in converted.modules() if type(m).__name__ == "Int8ConvTranspose2d")
    multiplier = layer.multiplier
    assert multiplier.max() / multiplier.min() > 100
