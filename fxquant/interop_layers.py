"""A quantized layer of torch.ao  ->  the same layer of float32: y = dequantize(quantize(layer(x, w), q), q).

w are the real numbers of its weight's integers, and q is how it rounds what it gives. Such layers stand in modules that
a custom module's `from_observed` makes; there they would take and give torch's quantized tensors, which we have not.
Nothing here needs torch.ao to exist, either: the layers are known by the module of their class, and read by attributes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant import ops
from fxquant.qparams import QParams

_HOMES = ("torch.ao.nn.quantized.modules.", "torch.ao.nn.intrinsic.quantized.modules.")
_FLOAT_LAYERS = {
    "Linear": nn.Linear,
    "LinearReLU": nn.Linear,
    **{f"Conv{n}d": kind for n, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1)},
    **{f"ConvReLU{n}d": kind for n, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1)},
}


def in_floats(module: nn.Module) -> nn.Module:
    """`module` with the quantized layers of torch.ao in it replaced, or what replaces it itself."""
    if _is_quantized(module):
        return RoundedLayer(module)
    for name, child in module.named_children():
        setattr(module, name, in_floats(child))
    return module


def _is_quantized(module: nn.Module) -> bool:
    return type(module).__module__.startswith(_HOMES) and type(module).__name__ in _FLOAT_LAYERS


class RoundedLayer(nn.Module):
    """A layer of float32 that computes what a quantized one of torch.ao does, but for the rounding of its input."""

    def __init__(self, quantized: Any) -> None:
        super().__init__()
        self.layer = _float_layer(quantized)
        self.saturation: nn.Module = nn.ReLU() if "ReLU" in type(quantized).__name__ else nn.Identity()
        self.qparams = QParams(float(quantized.scale), int(quantized.zero_point), 0, 255, torch.uint8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.saturation(self.layer(x))
        return ops.dequantize(ops.quantize(y, self.qparams), self.qparams)


_SIZES = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size")
_SETTINGS = ("stride", "padding", "dilation", "groups", "padding_mode")


def _float_layer(quantized: Any) -> nn.Module:
    kind: Any = _FLOAT_LAYERS[type(quantized).__name__]
    sizes = [getattr(quantized, name) for name in _SIZES if hasattr(quantized, name)]
    settings = {name: getattr(quantized, name) for name in _SETTINGS if hasattr(quantized, name)}
    bias = quantized.bias()
    layer: nn.Module = kind(*sizes, **settings, bias=bias is not None)
    weights = {"weight": quantized.weight().dequantize(), **({} if bias is None else {"bias": bias.detach()})}
    layer.load_state_dict(weights)
    return layer.eval().requires_grad_(False)
