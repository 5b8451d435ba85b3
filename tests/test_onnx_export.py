"""export_onnx: ONNX Runtime computes every int8 layer within one step, and the whole model as the float parts allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_models import assert_layers_within_a_step, exported
from random_models import INPUT, RandomModel
from regions import quantized
from token_models import TOKEN_LAYERS, tokens
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import fxquant
from fxquant import get_default_qconfig_mapping
from fxquant.demo import data, packages
from fxquant.demo.metrics import agreement, sqnr_db
from fxquant.errors import ConfigError, UnsupportedError
from fxquant.runtime.quantized_module import QuantizedModule

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet-lite0"])
def test_real_networks_run_on_onnx_runtime(name: str, tmp_path: Path) -> None:
    if missing := packages.missing_packages():
        pytest.skip(f"{', '.join(missing)} missing: {packages.install_command()}")
    x = data.center_crops(name)[:8]
    model = quantized(data.load_network(name), x)
    assert assert_layers_within_a_step(model, x[:1]) > 50
    [logits] = exported(model, tmp_path, x)
    assert agreement(model(x), logits) == 1
    assert sqnr_db(model(x), logits) > 25


class Everything(nn.Module):
    """Each int8 layer at least once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU6())
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16), nn.Hardswish())
        self.right = nn.Conv2d(16, 16, 1, groups=2)
        self.act = nn.PReLU(16)
        self.line = nn.Conv1d(16, 8, 3, padding=1)
        self.mix = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(F.pad(x, (1, 0, 2, -1), value=0.5))
        y = F.relu(self.right(self.left(x)) + x)
        z = self.act(F.avg_pool2d(y, 3, 2, 1, count_include_pad=False))
        z = F.interpolate(z, scale_factor=2.0, mode="bilinear") * F.interpolate(z, scale_factor=2.0)
        a, b = (z + 0.5 * z.sigmoid()).chunk(2, 1)
        c = torch.cat([b[:, :, 1:], F.max_pool2d(a, 3, 1, 1)[:, :, 1:]], 1)
        d = F.adaptive_avg_pool2d(c, (2, 3)).flatten(2)
        e = self.mix(self.line(d).transpose(1, 2))
        f = F.adaptive_avg_pool2d(c, 1).flatten(1)
        return {"tokens": e, "logits": self.head(f), "again": (f, y.permute(0, 2, 3, 1))}


def everything() -> tuple[QuantizedModule, Tensor]:
    x = torch.randn(2, 3, 20, 26)
    return quantized(Everything(), x), x


def test_every_layer_is_within_a_step() -> None:
    model, x = everything()
    assert assert_layers_within_a_step(model, x) >= 15


@pytest.mark.parametrize("optimize", [False, True])
def test_results_follow_in_order_and_are_close(optimize: bool, tmp_path: Path) -> None:
    model, x = everything()
    expected = pytree.tree_leaves(model(x))
    results = exported(model, tmp_path, x, optimize)
    assert [y.shape for y in results] == [y.shape for y in expected]
    for one, other in zip(results, expected, strict=True):
        assert sqnr_db(other, one) > 30


class Volumes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose3d(8, 6, 2, 2, groups=2)
        self.flat_up = nn.ConvTranspose2d(6, 6, 3, 2, 1, 1)
        self.mix = nn.Conv3d(6, 6, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.up(F.max_pool3d(F.relu(self.stem(x)), 2))
        y = self.mix(F.avg_pool3d(x, 3, 1, 1, count_include_pad=False)) - x
        z = torch.maximum(y, 0.1 * x).abs() ** 2
        image = self.flat_up(F.adaptive_max_pool3d(z, (1, 2, 4)).squeeze(2))
        windows = F.unfold(torch.minimum(image, image.mean((2, 3), True)) / (1 + image.abs()), 2, stride=2)
        return windows, F.adaptive_avg_pool3d(y, (3, 2, 2)), y.mean((2, 3, 4)), y.index_select(1, torch.tensor([2, 0]))


def test_layers_of_volumes_are_within_a_step() -> None:
    x = torch.randn(2, 3, 4, 8, 8)
    assert assert_layers_within_a_step(quantized(Volumes(), x), x) >= 15


def test_any_batch_runs(tmp_path: Path) -> None:
    model, x = everything()
    more = torch.cat([x, x.flip(0), x[:1]])
    for one, other in zip(exported(model, tmp_path, more), pytree.tree_leaves(model(more)), strict=True):
        assert sqnr_db(other, one) > 30


@pytest.mark.parametrize("scores", [0.1, 4.0])
def test_layers_of_transformers_are_within_a_step(scores: float, tmp_path: Path) -> None:
    model, x = tokens(scores)
    assert assert_layers_within_a_step(model, x) >= len(TOKEN_LAYERS)
    assert {type(module).__name__ for module in model.modules()} >= TOKEN_LAYERS
    for one, other in zip(exported(model, tmp_path, x, optimize=False), model(x), strict=True):
        assert sqnr_db(other, one) > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_layers_of_random_models_are_within_a_step(seed: int) -> None:
    x = torch.randn(INPUT)
    assert_layers_within_a_step(quantized(RandomModel(seed), x), x)


def test_float_parts_are_exported(tmp_path: Path) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3)
            self.real = nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.ConvTranspose2d(8, 4, 2, 2), nn.GELU()
            )
            self.last = nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.last(self.real(self.first(x)))
            return torch.softmax(self.head(y.mean((2, 3))) / 2 - 1, -1)

    x = torch.randn(2, 3, 9, 9)
    mapping = get_default_qconfig_mapping().set_module_name("real", None).set_module_name("head", None)
    model = quantized(Partly(), x, mapping=mapping)
    [result] = exported(model, tmp_path, x)
    assert sqnr_db(model(x), result) > 30


def test_a_loaded_and_a_restored_model_export_alike(tmp_path: Path) -> None:
    model, x = everything()
    fxquant.save(model, tmp_path / "model")
    expected = exported(model, tmp_path, x)
    for one, other in zip(exported(fxquant.load(tmp_path / "model"), tmp_path, x), expected, strict=True):
        assert torch.equal(one, other)
    torch.manual_seed(9)
    fresh = quantized(Everything(), 3 * x)
    fresh.load_state_dict(model.state_dict())
    for one, other in zip(exported(fresh, tmp_path, x), expected, strict=True):
        assert torch.equal(one, other)


def test_what_has_no_form_in_onnx_is_named(tmp_path: Path) -> None:
    model = quantized(nn.Sequential(nn.Linear(4, 4), nn.Softshrink()), torch.randn(3, 4))
    with pytest.raises(UnsupportedError, match=r"cannot be exported: there is no ONNX form of Softshrink"):
        fxquant.export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_only_converted_models_are_exported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes what convert_fx returned"):
        fxquant.export_onnx(nn.Linear(2, 2), tmp_path / "model.onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_differ_by_what_their_states_are_rounded(kind: Any, tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = kind(12, 16, 2, bidirectional=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.recurrent(x)[0]
            return y

    x = torch.randn(7, 3, 12)
    model = quantized(Both(), x)
    [y] = exported(model, tmp_path, x)
    scale = next(m for m in model.modules() if type(m).__name__ == "Int8Recurrent").constant("h_scale")
    assert sqnr_db(model(x), y) > 30
    assert (model(x) - y).abs().max() <= 4 * scale


def test_the_last_cell_state_is_exported_too(tmp_path: Path) -> None:
    x = torch.randn(7, 3, 12)
    model = quantized(nn.Sequential(nn.LSTM(12, 16)), x)
    for one, other in zip(exported(model, tmp_path, x), pytree.tree_leaves(model(x)), strict=True):
        assert sqnr_db(other, one) > 30
