"""Quantized models of every kind that files have to hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from regions import quantized
from token_models import tokens
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import get_default_qconfig_mapping
from fxquant.qconfig import float_qparams_weight_only_qconfig_4bit
from fxquant.runtime.quantized_module import QuantizedModule


class Classifier(nn.Module):
    """Convolutions of all kinds, a residual, activations in epilogues and as tables, pools and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU6())
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Hardswish())
        self.right = nn.Conv2d(16, 16, 1)
        self.act = nn.PReLU(16)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu(self.right(self.left(x)) + x)
        z = torch.cat([self.act(F.avg_pool2d(y, 2)), F.max_pool2d(y * y, 2)], 1)
        return self.head(F.adaptive_avg_pool2d(z, 1).flatten(1))


class Pyramid(nn.Module):
    """Sizes that are those of other tensors, padding, resizing both ways, several outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.deep = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Any:
        y = self.conv(F.pad(x, (1, 1, 1, 1), value=0.5))
        a, b = self.deep(F.max_pool2d(y, 2)).chunk(2, 1)
        up = F.interpolate(a, size=y.shape[-2:], mode="bilinear", align_corners=True)
        return {"up": up, "pair": (b, F.interpolate(b, scale_factor=2.0)), "flat": y.view(y.size(0), -1)}


class Islands(nn.Module):
    """Float parts: functions, methods, operators, slices, an infinite bound, parameters, unsaved buffers, an LSTM
    with projections."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.lstm = nn.LSTM(8, 9, num_layers=2, batch_first=True, bidirectional=True, proj_size=6)
        self.norm = nn.GroupNorm(2, 12)
        self.last = nn.Linear(12, 4)
        self.scale = nn.Parameter(torch.rand(8))
        self.register_buffer("shift", torch.rand(8))
        self.register_buffer("unsaved", torch.rand(8), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sin(self.first(x)) * self.scale + self.shift - self.unsaved
        y = torch.where(y > 0.1, y, y.exp())[:, ..., ::1].masked_fill(y < -0.5, float("-inf"))
        y, _ = self.lstm(torch.nan_to_num(y, neginf=0.0).to(torch.float64).to(torch.float32))
        y = self.norm(y.transpose(1, 2)).transpose(1, 2)
        return self.last(y) / (x.shape[1] + 1)


def classifier() -> tuple[QuantizedModule, Tensor]:
    x = torch.randn(4, 3, 20, 24)
    return quantized(Classifier(), x), x


def pyramid() -> tuple[QuantizedModule, Tensor]:
    x = torch.randn(2, 3, 12, 16)
    return quantized(Pyramid(), x), x


def islands() -> tuple[QuantizedModule, Tensor]:
    x = torch.randn(2, 5, 8)
    return quantized(Islands(), x), x


def partly_float() -> tuple[QuantizedModule, Tensor]:
    x = torch.randn(4, 3, 20, 24)
    mapping = get_default_qconfig_mapping().set_module_name("left", None).set_module_name("head", None)
    return quantized(Classifier(), x, mapping=mapping), x


def rows() -> tuple[QuantizedModule, Tensor]:
    bags = nn.Sequential(nn.EmbeddingBag(20, 7, mode="mean", padding_idx=3), nn.Linear(7, 4))
    x = torch.randint(20, (3, 5))
    mapping = get_default_qconfig_mapping().set_object_type(nn.EmbeddingBag, float_qparams_weight_only_qconfig_4bit)
    return quantized(bags, x, mapping=mapping), x


MODELS: dict[str, Callable[[], tuple[QuantizedModule, Tensor]]] = {
    make.__name__: make for make in (classifier, pyramid, islands, partly_float, tokens, rows)
}
