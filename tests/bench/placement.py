"""What placement="fastest" is worth: float eager, and in turns int8 as configured and as placed; one thread.

For each model: medians in microseconds, how many ops run in int8 as configured and as placed, and how long the second
conversion took, measuring included. Run from anywhere: python tests/bench/placement.py [names]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.demo.demo import interleaved_medians
from fxquant.demo.networks import EfficientNetLite0, MobileNetV2
from fxquant.demo.resnet import resnet18


class Encoder(nn.Module):
    """A transformer's encoder layer, normalized first: linears in int8, attention and normalization in float."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        heads = (x.shape[0], x.shape[1], self.heads, self.width // self.heads)
        qkv = self.qkv(self.norm1(x)).chunk(3, -1)
        q, k, v = (qkv[i].reshape(heads).transpose(1, 2) for i in range(3))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.proj(attended)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Islands(nn.Module):
    """Small int8 ops, each between ops that have no int8 kernel."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.softmax(F.relu(layer(x)), -1)
        return x


def encoders(width: int, heads: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear(16, 16)": (lambda: nn.Linear(16, 16), (1, 16)),
    "Linear(64, 64)": (lambda: nn.Linear(64, 64), (1, 64)),
    "100 linears of 64": (lambda: nn.Sequential(*(nn.Linear(64, 64) for _ in range(100))), (1, 64)),
    "small islands": (lambda: Islands(32, 8), (1, 32)),
    "large islands": (lambda: Islands(1024, 8), (64, 1024)),
    "small encoders": (lambda: encoders(32, 2, 4), (1, 8, 32)),
    "MiniLM's encoders": (lambda: encoders(384, 12, 6), (1, 128, 384)),
    "ResNet-18": (resnet18, (1, 3, 224, 224)),
    "MobileNetV2": (MobileNetV2, (1, 3, 224, 224)),
    "MobileNetV2 of 32": (MobileNetV2, (1, 3, 32, 32)),
    "EfficientNet-Lite0": (EfficientNetLite0, (1, 3, 224, 224)),
}


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'us':>20} {'float':>9} {'configured':>10} {'placed':>9} {'int8 ops':>12} {'convert':>8}")
    for name in sys.argv[1:] or MODELS:
        make, shape = MODELS[name]
        print(row(name, make().eval(), torch.randn(shape)), flush=True)


def row(name: str, model: nn.Module, x: Tensor) -> str:
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False)
    configured = convert_fx(prepared)
    start = time.perf_counter()
    placed = convert_fx(prepared, placement="fastest")
    seconds = time.perf_counter() - start
    (in_float,) = interleaved_medians([lambda: model(x)], threads=1)
    medians = (in_float, *interleaved_medians([lambda: configured(x), lambda: placed(x)], threads=1))
    counts = " to ".join(
        str(sum(r.precision == "int8" for r in explain(quantized).rows)) for quantized in (configured, placed)
    )
    times = "{:9.0f} {:10.0f} {:9.0f}".format(*(median * 1e6 for median in medians))
    return f"{name:>20} {times} {counts:>12} {seconds:6.1f} s"


if __name__ == "__main__":
    main()
