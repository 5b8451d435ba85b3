"""Every op of the int8 vocabulary, between two convolutions: it runs in int8 and stays close to float."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.demo.metrics import sqnr_db

IMAGE = (4, 8, 12, 14)
SEQUENCE = (4, 8, 24)
VOLUME = (2, 8, 5, 6, 7)


class Sandwich(nn.Module):
    """conv -> function -> conv; the second one takes whatever shape comes out."""

    def __init__(self, function: Callable[..., Tensor], shape: tuple[int, ...], modules: dict[str, nn.Module]) -> None:
        super().__init__()
        conv = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
        self.before = conv(shape[1], shape[1], 3, padding=1)
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)
        with torch.no_grad():
            result = self.inner(self.before(torch.randn(shape)))
        after: dict[int, Callable[..., nn.Module]] = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
        size = (result.shape[1], 6) if result.dim() == 2 else (result.shape[1], 6, 1)
        self.after = after[result.dim()](*size)

    def inner(self, x: Tensor) -> Tensor:
        return self.function(self, x)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.function(self, self.before(x)))
        return y


def conv2d(**settings: object) -> tuple[tuple[int, ...], Callable[..., Tensor], dict[str, nn.Module]]:
    return IMAGE, lambda m, x: m.conv(x), {"conv": nn.Conv2d(8, 16, **settings)}  # type: ignore[arg-type]


def conv1d(**settings: object) -> tuple[tuple[int, ...], Callable[..., Tensor], dict[str, nn.Module]]:
    return SEQUENCE, lambda m, x: m.conv(x), {"conv": nn.Conv1d(8, 16, **settings)}  # type: ignore[arg-type]


def image(
    function: Callable[..., Tensor], **modules: nn.Module
) -> tuple[tuple[int, ...], Callable[..., Tensor], dict[str, nn.Module]]:
    return IMAGE, (lambda m, x: function(m, x)) if modules else (lambda m, x: function(x)), modules


def sequence(function: Callable[..., Tensor]) -> tuple[tuple[int, ...], Callable[..., Tensor], dict[str, nn.Module]]:
    return SEQUENCE, lambda m, x: function(x), {}


def volume(
    function: Callable[..., Tensor], **modules: nn.Module
) -> tuple[tuple[int, ...], Callable[..., Tensor], dict[str, nn.Module]]:
    return VOLUME, (lambda m, x: function(m, x)) if modules else (lambda m, x: function(x)), modules


def unbound_product(x: Tensor) -> Tensor:
    first, _, third = x[:, :, :3].unbind(2)
    return first * third


def halves_product(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a * b


CASES = {
    "conv2d 3x3": conv2d(kernel_size=3),
    "conv2d asymmetric": conv2d(kernel_size=(1, 5), padding=(0, 2), stride=(2, 1)),
    "conv2d dilated": conv2d(kernel_size=3, dilation=(2, 3), padding=2),
    "conv2d grouped": conv2d(kernel_size=3, groups=4),
    "conv2d depthwise multiplier 2": conv2d(kernel_size=3, groups=8),
    "conv2d same": conv2d(kernel_size=4, padding="same"),
    "conv2d reflect": conv2d(kernel_size=3, padding=1, padding_mode="reflect"),
    "conv2d circular": conv2d(kernel_size=3, padding=1, padding_mode="circular"),
    "conv1d": conv1d(kernel_size=3, padding=1),
    "conv1d strided grouped dilated": conv1d(kernel_size=3, stride=2, groups=4, dilation=2),
    "depthwise": image(lambda m, x: m.conv(x), conv=nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8)),
    "linear on channels": image(lambda m, x: m.fc(x.flatten(2)).view(4, 8, 3, 4), fc=nn.Linear(168, 12)),
    "add": image(lambda x: x + x * x),
    "add broadcast": image(lambda x: x + F.adaptive_avg_pool2d(x, 1)),
    "add relu": image(lambda x: F.relu(x * x + x)),
    "add scalar": image(lambda x: x + 1.5),
    "mul": image(lambda x: x * torch.tanh(x)),
    "mul squeeze excite": image(lambda m, x: x * m.gate(x.mean((2, 3), True)).sigmoid(), gate=nn.Conv2d(8, 8, 1)),
    "mul scalar": image(lambda x: 0.3 * x),
    "mul relu6": image(lambda x: F.relu6(x * x)),
    "relu": image(lambda x: F.relu(F.max_pool2d(x, 2))),
    "relu6": image(lambda x: F.relu6(F.max_pool2d(x, 2))),
    "hardtanh": image(lambda x: F.hardtanh(x, -0.5, 0.7)),
    "clamp": image(lambda x: x.clamp(-0.2, 0.6)),
    "clamp min": image(lambda x: x.clamp(min=0.1)),
    "max_pool2d": image(lambda x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool2d dilated ceil": image(lambda x: F.max_pool2d(x, 2, 2, dilation=2, ceil_mode=True)),
    "avg_pool2d": image(lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "avg_pool2d ceil exclude": image(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)),
    "avg_pool2d divisor": image(lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
    "adaptive_avg_pool2d": image(lambda x: F.adaptive_avg_pool2d(x, (5, 3))),
    "max_pool1d": sequence(lambda x: F.max_pool1d(x, 3, 2, 1)),
    "avg_pool1d": sequence(lambda x: F.avg_pool1d(x, 3)),
    "adaptive_avg_pool1d": sequence(lambda x: F.adaptive_avg_pool1d(x, 7)),
    "mean": image(lambda x: x.mean((2, 3))),
    "mean keepdim": image(lambda x: x.mean([2, 3], keepdim=True)),
    "mean 1d": sequence(lambda x: x.mean(-1)),
    "cat": image(lambda x: torch.cat([x, F.relu(x), x * x], 1)),
    "flatten": image(lambda x: torch.flatten(x, 1)),
    "reshape": image(lambda x: x.reshape(x.size(0), -1)),
    "view": image(lambda x: x.view(x.shape[0], 16, 6, 14)),
    "permute": image(lambda x: x.permute(0, 2, 3, 1)),
    "permute by keyword": image(lambda x: x.permute(dims=(0, 2, 3, 1))),
    "reshape by keyword": image(lambda x: x.reshape(shape=(4, -1))),
    "transpose": image(lambda x: x.transpose(2, 3)),
    "squeeze": image(lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2)),
    "unsqueeze": sequence(lambda x: x.mean(2).unsqueeze(2)),
    "slice": image(lambda x: x[:, 2:6, ::2, :-1]),
    "chunk": image(lambda x: halves_product(x)),
    "split": image(lambda x: x.split([3, 5], 1)[1]),
    "channel shuffle": image(lambda x: x.view(4, 2, 4, 12, 14).transpose(1, 2).reshape(4, 8, 12, 14)),
    "pad": image(lambda x: F.pad(x, (1, 2, 0, 1))),
    "pad value": image(lambda x: F.pad(x, (1, 2), value=0.7)),
    "pad infinite": image(lambda x: F.max_pool2d(F.pad(x, (1, 2), value=float("-inf")), 2)),
    "pad reflect": image(lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")),
    "pad replicate": image(lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate")),
    "pixel_shuffle": image(lambda x: F.pixel_shuffle(x, 2)),
    "flip": image(lambda x: x.flip(3)),
    "roll": image(lambda x: torch.roll(x, (3, -2), (2, 3))),
    "expand": image(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 3)),
    "repeat": image(lambda x: x.repeat(1, 2, 1, 1)),
    "tile": image(lambda x: torch.tile(x, (2,))),
    "repeat_interleave": image(lambda x: x.repeat_interleave(2, 2)),
    "stack": image(lambda x: torch.stack((x, F.relu(x)), 2).flatten(1, 2)),
    "unbind": image(lambda x: unbound_product(x)),
    "unflatten": image(lambda x: x.unflatten(1, (2, 4)).flatten(1, 2)),
    "interpolate nearest": image(lambda x: F.interpolate(x, scale_factor=2)),
    "interpolate nearest size": image(lambda x: F.interpolate(x, size=(7, 19))),
    "interpolate nearest computed size": image(lambda x: F.interpolate(x, size=x.size(2) * 2)),
    "interpolate bilinear": image(lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear")),
    "interpolate bilinear corners": image(lambda x: F.interpolate(x, (20, 9), mode="bilinear", align_corners=True)),
    "sigmoid": image(torch.sigmoid),
    "hardsigmoid": image(F.hardsigmoid),
    "tanh": image(torch.tanh),
    "hardswish": image(F.hardswish),
    "silu": image(F.silu),
    "gelu": image(F.gelu),
    "gelu tanh": image(lambda x: F.gelu(x, approximate="tanh")),
    "elu": image(F.elu),
    "leaky_relu": image(lambda x: F.leaky_relu(x, 0.1)),
    "mish": image(F.mish),
    "prelu": image(lambda m, x: m.act(x), act=nn.PReLU()),
    "prelu a channel": image(lambda m, x: m.act(x), act=nn.PReLU(8)),
    "conv3d": volume(lambda m, x: m.conv(x), conv=nn.Conv3d(8, 12, 3, padding=1)),
    "conv3d residual": volume(lambda m, x: F.relu(m.conv(x) + x), conv=nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1))),
    "conv3d gelu": volume(lambda m, x: F.gelu(m.conv(x)), conv=nn.Conv3d(8, 8, (3, 1, 1), groups=8)),
    "conv3d same": volume(lambda m, x: m.conv(x), conv=nn.Conv3d(8, 8, 2, padding="same")),
    "batch norm of volumes": volume(lambda m, x: m.norm(F.relu(x)), norm=nn.BatchNorm3d(8).eval()),
    "conv_transpose1d": (SEQUENCE, lambda m, x: m.up(x), {"up": nn.ConvTranspose1d(8, 6, 4, 2, 1)}),
    "conv_transpose2d": image(lambda m, x: m.up(x), up=nn.ConvTranspose2d(8, 6, 3, 2, 1, 1)),
    "conv_transpose2d grouped": image(lambda m, x: m.up(x), up=nn.ConvTranspose2d(8, 12, 2, 2, groups=4)),
    "conv_transpose2d depthwise": image(lambda m, x: m.up(x), up=nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)),
    "conv_transpose2d relu": image(lambda m, x: F.relu(m.up(x)), up=nn.ConvTranspose2d(8, 6, 2, 2)),
    "conv_transpose2d residual": image(lambda m, x: m.up(x) + x, up=nn.ConvTranspose2d(8, 8, 3, padding=1)),
    "conv_transpose3d": volume(lambda m, x: m.up(x), up=nn.ConvTranspose3d(8, 6, 2, 2)),
    "max_pool3d": volume(lambda x: F.max_pool3d(x, 2)),
    "avg_pool3d": volume(lambda x: F.avg_pool3d(x, 3, 2, 1)),
    "adaptive_avg_pool3d": volume(lambda x: F.adaptive_avg_pool3d(x, (2, 3, 3))),
    "adaptive_max_pool1d": sequence(lambda x: F.adaptive_max_pool1d(x, 7)),
    "adaptive_max_pool2d": image(lambda x: F.adaptive_max_pool2d(x, (5, 3))),
    "adaptive_max_pool3d": volume(lambda x: F.adaptive_max_pool3d(x, (2, 3, 3))),
    "mean of volumes": volume(lambda x: x.mean((2, 3, 4))),
    "cat of volumes": volume(lambda x: torch.cat([x, F.relu(x), x * x], 1)),
    "sub": image(lambda x: x - torch.sigmoid(x)),
    "sub broadcast": image(lambda x: x.mean((2, 3), keepdim=True) - x),
    "sub from a number": image(lambda x: 1 - x),
    "sub relu": image(lambda x: F.relu(x - torch.tanh(x))),
    "div": image(lambda x: x / (1 + x.abs())),
    "div by a number": image(lambda x: x / 3),
    "div of a number": image(lambda x: 1 / (1 + x.abs())),
    "maximum": image(lambda x: torch.maximum(x, -x)),
    "minimum": image(lambda x: torch.min(x, x.mean((2, 3), keepdim=True))),
    "pow": image(lambda x: x**2),
    "square": image(torch.square),
    "abs": image(torch.abs),
    "neg": image(lambda x: -x),
    "index_select": image(lambda x: torch.index_select(x, 1, torch.tensor([3, 3, 0]))),
    "gather": image(lambda x: x.gather(1, torch.ones(4, 8, 12, 14, dtype=torch.int64))),
    "unfold": image(lambda x: x.unfold(2, 4, 3).flatten(3)),
    "unfold windows": image(lambda x: F.unfold(x, 3, stride=2).unsqueeze(3)),
    "channel_shuffle": image(lambda x: F.channel_shuffle(x, 4)),
    "expand_as": image(lambda x: x.mean((2, 3), keepdim=True).expand_as(x)),
    "view_as": image(lambda x: x.transpose(2, 3).reshape(4, 8, -1).reshape_as(x)),
    "hstack": image(lambda x: torch.hstack([x, x])),
    "dropout identity": image(lambda m, x: m.b(m.a(x)), a=nn.Dropout(), b=nn.Identity()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_runs_in_int8(name: str) -> None:
    shape, function, modules = CASES[name]
    model = Sandwich(function, shape, modules).eval()
    x = torch.randn(shape)
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    explanation = explain(quantized)
    assert explanation.float_rows == (), str(explanation)
    assert [row.op for row in explanation.rows if row.precision == "boundary"] == ["Quantize"]
    assert sqnr_db(model(x), quantized(x)) > 25
