"""The demo's networks, images and figures."""

from __future__ import annotations

import builtins
import io
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from fxquant.demo import data, demo, metrics, packages
from fxquant.demo.networks import EfficientNetLite0, MobileNetV2, pad_for_stride_2
from fxquant.demo.resnet import resnet18, resnet50
from fxquant.errors import ConfigError, MissingError

needs_packages = pytest.mark.skipif(
    bool(packages.missing_packages()), reason=f"the demo's packages are missing: {packages.install_command()}"
)


@needs_packages
@pytest.mark.parametrize(("name", "top1", "top5"), [("mobilenetv2", 18, 20), ("efficientnet-lite0", 18, 19)])
def test_real_weights_recognize_the_images(name: str, top1: int, top5: int) -> None:
    model = data.load_network(name)
    assert not model.training
    with torch.inference_mode():
        logits = model(data.center_crops(name))
    assert round(20 * metrics.topk_accuracy(logits, data.labels())) == top1
    assert round(20 * metrics.topk_accuracy(logits, data.labels(), 5)) == top5


@needs_packages
def test_crops_are_center_then_corners() -> None:
    crops = data.all_crops("efficientnet-lite0")
    assert crops.shape == (100, 3, 224, 224)
    assert torch.equal(data.center_crops("efficientnet-lite0"), crops[::5])
    # Every image is 256 pixels on its shorter side and the first ones are square, so that crops overlap by 192.
    center, top_left, top_right, bottom_left, bottom_right = crops[:5]
    assert torch.equal(center[:, :208, :208], top_left[:, 16:, 16:])
    assert torch.equal(top_left[:, :, 32:], top_right[:, :, :192])
    assert torch.equal(top_left[:, 32:, 32:], bottom_right[:, :192, :192])
    assert torch.equal(bottom_left[:, :, 32:], bottom_right[:, :, :192])


@needs_packages
def test_pixels_are_normalized() -> None:
    crops = data.all_crops("mobilenetv2")
    row = data.network("mobilenetv2")
    pixels = crops * torch.tensor(row.std)[:, None, None] + torch.tensor(row.mean)[:, None, None]
    assert -1e-6 < pixels.min() < 0.01
    assert 0.99 < pixels.max() < 1 + 1e-6
    torch.testing.assert_close(pixels * 255, (pixels * 255).round(), atol=1e-3, rtol=0)


def test_five_crops_of_a_wide_image() -> None:
    image = torch.arange(256 * 300, dtype=torch.float32).reshape(1, 256, 300)
    first_pixels = [int(crop[0, 0, 0]) for crop in data._five_crops(image)]
    assert first_pixels == [16 * 300 + 38, 0, 76, 32 * 300, 32 * 300 + 76]


@pytest.mark.parametrize(
    ("model", "parameters"),
    [(MobileNetV2(), 3_504_872), (EfficientNetLite0(), 4_652_008), (resnet18(), 11_689_512), (resnet50(), 25_557_032)],
)
def test_networks_have_their_published_size(model: nn.Module, parameters: int) -> None:
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


@pytest.mark.parametrize(("kernel_size", "padding"), [(3, (0, 1)), (5, (1, 2))])
def test_same_padding_is_larger_below_and_right(kernel_size: int, padding: tuple[int, int]) -> None:
    padded = pad_for_stride_2(torch.ones(1, 1, 8, 8), kernel_size)[0, 0]
    before, after = padding
    assert padded.shape == (8 + before + after, 8 + before + after)
    assert padded[before : before + 8, before : before + 8].sum() == padded.sum() == 64
    assert (padded.shape[0] - kernel_size) // 2 + 1 == 4


def test_sqnr_of_known_numbers() -> None:
    reference = torch.tensor([[3.0, 4.0]])  # sum of squares 25
    assert metrics.sqnr_db(reference, torch.tensor([[3.0, 3.5]])) == pytest.approx(20.0)  # 25 / 0.25 = 100
    assert metrics.sqnr_db(reference, torch.zeros(1, 2)) == pytest.approx(0.0)
    assert metrics.sqnr_db(reference, reference) == math.inf


def test_agreement_and_accuracy_of_known_numbers() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])
    b = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert metrics.agreement(a, b) == 0.75
    labels = torch.tensor([2, 1, 2, 0])
    assert metrics.topk_accuracy(a, labels) == 0.25
    assert metrics.topk_accuracy(a, labels, 2) == 0.75


def test_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mobilenetv2, efficientnet-lite0"):
        data.load_network("alexnet")


def test_missing_package_names_the_command() -> None:
    with pytest.raises(MissingError, match=r"pip install --no-deps .*'foolbox==3\.3\.4'"):
        packages.package_files("no_such_package", "data/*")


def test_missing_pillow_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_import = builtins.__import__

    def without_pillow(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("PIL"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(MissingError, match="pip install --no-deps 'pillow"):
        data._open(tmp_path / "image.jpg", "BICUBIC")


def test_another_checkpoint_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(MobileNetV2().state_dict(), path)
    monkeypatch.setattr(data, "package_files", lambda package, pattern: [path])
    with pytest.raises(ConfigError, match="not the checkpoint of mobilenetv2"):
        data.load_network("mobilenetv2")


def test_state_bytes_is_the_size_of_the_file(tmp_path: Path) -> None:
    model = nn.Linear(100, 100)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    size = demo.state_bytes(model)
    assert 4 * 10_100 < size < 4 * 10_100 + 3000
    assert abs(size - (tmp_path / "state.pt").stat().st_size) < 500


def test_table_shows_the_figures() -> None:
    result = demo.Result("net", 15.04, 0.93, 0.88, 0.87, 14_200_000, 3_600_000, 0.0201, 0.0049)
    console = Console(width=80, file=io.StringIO())
    console.print(demo.table([result], threads=1))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for figure in ("15.0 dB", "93%", "88% -> 87%", "14.2 -> 3.6 MB", "0.254", "20.1 -> 4.9 ms", "4.10"):
        assert figure in text
