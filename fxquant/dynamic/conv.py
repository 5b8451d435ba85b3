"""Convolutions with int8 weights and activations that are quantized at run time, each example with its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.dynamic.readable import readable
from fxquant.dynamic.weight import IntegerWeight, checked_qconfig, integers_of, levels_of, refusal
from fxquant.errors import InputError
from fxquant.graph.weights import is_depthwise
from fxquant.ops.integer.conv import other_side_first
from fxquant.passes.annotate_dynamic import DEPTHWISE_LIMIT  # type: ignore[import-untyped]
from fxquant.passes.fold_linear import outputs_first  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig, default_dynamic_qconfig
from fxquant.qparams import Dynamic, FloatOutput, QParams
from fxquant.runtime.layers.dynamic_conv import (
    DynamicConv,
    DynamicConv2d,
    DynamicConv3d,
    DynamicConvTranspose2d,
    DynamicConvTranspose3d,
)

# What a convolution along one dimension has for the height of its images.
_FLAT = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}


class Convolution(nn.Module):
    """Base: float32 [N, C, ...] or [C, ...] -> the same with other channels and sizes, as the module of torch.nn."""

    refusal = staticmethod(refusal)
    layer_class: ClassVar[type[DynamicConv]]
    dims: ClassVar[int]

    def __init__(self, module: Any, layer: DynamicConv, padding_amounts: list[int]) -> None:
        super().__init__()
        self.in_channels, self.out_channels = int(module.in_channels), int(module.out_channels)
        self.kernel_size, self.stride, self.dilation = module.kernel_size, module.stride, module.dilation
        self.padding, self.padding_mode, self.groups = module.padding, module.padding_mode, int(module.groups)
        self.output_padding = module.output_padding
        self.amounts, self.layer = padding_amounts, layer
        self.train(module.training)

    @classmethod
    def limit(cls, module: Any, qconfig: QConfig) -> str | None:
        """Why `module` is better left in float, or None."""
        return DEPTHWISE_LIMIT if is_depthwise(module.weight, {"groups": module.groups}) else None

    @classmethod
    def from_float(cls, module: Any, use_precomputed_fake_quant: bool = False) -> Convolution:
        """What takes the place of `module`, under its `qconfig` or the default; ConfigError if it cannot."""
        qconfig = checked_qconfig(module, default_dynamic_qconfig)
        integers = integers_of(module.weight, qconfig, axis=1 if module.transposed else 0)
        codes, scale = integers.codes, integers.qparams.scale
        if module.transposed:
            codes, scale = outputs_first(codes, scale, integers.qparams.axis, module.groups)
        padding, amounts = _padding(module)
        sizes: dict[str, Sequence[int]] = {"stride": module.stride, "padding": padding, "dilation": module.dilation}
        if module.transposed:
            sizes["output_padding"] = module.output_padding
        flat = cls.dims == 1
        layer = cls.layer_class(
            {
                "weight": codes.unsqueeze(2) if flat else codes,
                "multiplier": torch.as_tensor(scale, dtype=torch.float32).expand(len(codes)).contiguous(),
                "bias": torch.zeros(len(codes)) if module.bias is None else module.bias.detach().float() + 0.0,
                "dynamic": levels_of(qconfig),
                "output": FloatOutput(),
                **{name: (_FLAT[name], *size) if flat else tuple(size) for name, size in sizes.items()},
                "groups": module.groups,
            }
        )
        return cls(module, layer, amounts)

    def forward(self, input: Tensor) -> Any:
        """The convolution. Raises InputError for a tensor that the module cannot take."""
        if not isinstance(input, Tensor) or input.dim() not in (self.dims + 1, self.dims + 2):
            shape = list(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise InputError(f"a {type(self).__name__} takes [N, C, ...] or [C, ...] of {self.dims} sizes, not {shape}")
        x = input if input.dim() == self.dims + 2 else input.unsqueeze(0)
        if self.amounts:
            x = F.pad(x, self.amounts, "constant" if self.padding_mode == "zeros" else self.padding_mode)
        y = self.layer(x.unsqueeze(2)).squeeze(2) if self.dims == 1 else self.layer(x)
        return y if input.dim() == self.dims + 2 else y.squeeze(0)

    @readable
    def weight(self) -> IntegerWeight:
        """The weight in integers, of torch's shape."""
        codes, scale = self.layer.constant("weight"), self.layer.constant("multiplier")
        axis = 0
        if self.layer.constant("output_padding") is not None:
            codes, scale, axis = other_side_first(codes, self.groups), scale[: len(codes) // self.groups], 1
        codes = codes.squeeze(2) if self.dims == 1 else codes
        if bool((scale == scale[0]).all()):
            return IntegerWeight(codes, QParams(float(scale[0]), 0, -127, 127, torch.int8))
        return IntegerWeight(codes, QParams(scale, 0, -127, 127, torch.int8, axis))

    @readable
    def bias(self) -> Tensor:
        """The bias, float32; zeros if there is none."""
        bias: Tensor = self.layer.constant("bias")
        return bias

    def extra_repr(self) -> str:
        dynamic: Dynamic = self.layer.constant("dynamic")
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        activations = "example" if dynamic.by_row else "tensor"
        return f"{self.in_channels}, {self.out_channels}, {sizes}, activations per {activations}"

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"


def _padding(module: Any) -> tuple[Sequence[int], list[int]]:
    """What the layer pads at both ends of each dimension with zeros, and what F.pad does in front of it."""
    both = list(module._reversed_padding_repeated_twice)  # before and after the last dimension, then of the one before
    if module.padding_mode == "zeros" and both[::2] == both[1::2]:
        return both[::-2], []
    return (0,) * len(module.kernel_size), both


class Conv1d(Convolution):
    """As nn.Conv1d."""

    layer_class, dims = DynamicConv2d, 1


class Conv2d(Convolution):
    """As nn.Conv2d."""

    layer_class, dims = DynamicConv2d, 2


class Conv3d(Convolution):
    """As nn.Conv3d."""

    layer_class, dims = DynamicConv3d, 3


class _Transposed(Convolution):
    def forward(self, input: Tensor, output_size: Any = None) -> Any:
        """The convolution. Raises InputError for an `output_size`, which the module must have as output_padding."""
        if output_size is not None:
            raise InputError(f"a {type(self).__name__} has its output_padding beforehand; it takes no output_size")
        return super().forward(input)


class ConvTranspose1d(_Transposed):
    """As nn.ConvTranspose1d."""

    layer_class, dims = DynamicConvTranspose2d, 1


class ConvTranspose2d(_Transposed):
    """As nn.ConvTranspose2d."""

    layer_class, dims = DynamicConvTranspose2d, 2


class ConvTranspose3d(_Transposed):
    """As nn.ConvTranspose3d."""

    layer_class, dims = DynamicConvTranspose3d, 3
