"""The networks that `fxquant bench` knows by name. Weights are random, from a fixed seed, where none are installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fxquant.demo import data, resnet
from fxquant.errors import MissingError

Shape = tuple[int, ...]
IMAGE: Shape = (1, 3, 224, 224)


@dataclass(frozen=True)
class ZooNetwork:
    """How to build a network in eval mode, the shape of its input for one example, and the package that it is from."""

    build: Callable[[], nn.Module]
    input: Shape = IMAGE
    package: str = "fxquant"

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.package) is not None


def _trained(name: str) -> Callable[[], nn.Module]:
    """The network of the demo with its weights, or, if these are not installed, with random ones."""

    def build() -> nn.Module:
        with contextlib.suppress(MissingError):
            return data.load_network(name)
        return _settled(data.network(name).build(), IMAGE)

    return build


def _random(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: _settled(build(), IMAGE)


def _pytorchcv(module: str, name: str, shape: Shape = IMAGE) -> ZooNetwork:
    def build() -> nn.Module:  # from its own module, since the one that collects all of them needs torchvision
        return _settled(getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)(), shape)

    return ZooNetwork(build, shape, "pytorchcv")


def _settled(model: nn.Module, shape: Shape) -> nn.Module:
    """`model` in eval mode, each batch norm with the statistics of random inputs.

    Without them the values of a deep random network vanish, which a trained one's do not.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the statistics of the one batch that follows
    with torch.no_grad():
        model(torch.randn(4, *shape[1:]))
    return model.eval()


def _perceptron(layers: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*(nn.Linear(64, 64) for _ in range(layers))).eval()


ZOO: dict[str, ZooNetwork] = {
    "resnet18": ZooNetwork(_random(resnet.resnet18)),
    "resnet50": ZooNetwork(_random(resnet.resnet50)),
    "mobilenetv2": ZooNetwork(_trained("mobilenetv2")),
    "efficientnet-lite0": ZooNetwork(_trained("efficientnet-lite0")),
    "densenet121": _pytorchcv("densenet", "densenet121"),
    "mobilenetv3-large": _pytorchcv("mobilenetv3", "mobilenetv3_large_w1"),
    "efficientnet-b0": _pytorchcv("efficientnet", "efficientnet_b0"),
    "regnetx-008": _pytorchcv("regnet", "regnetx008"),
    "regnety-008": _pytorchcv("regnet", "regnety008"),
    "shufflenetv2": _pytorchcv("shufflenetv2", "shufflenetv2_w1"),
    "squeezenet": _pytorchcv("squeezenet", "squeezenet_v1_1"),
    "inceptionv3": _pytorchcv("inceptionv3", "inceptionv3", (1, 3, 299, 299)),
    "linear": ZooNetwork(_perceptron(1), (1, 64)),
    "100-linears": ZooNetwork(_perceptron(100), (1, 64)),
}
