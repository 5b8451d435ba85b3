"""One layer for each integer op: which kernel computes it, and what that kernel wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry
from fxquant.ops.integer.pool import known_size
from fxquant.ops.integer.resize import resizing
from fxquant.runtime.layer import Layer, computes


class _Weighted(Layer):
    """A layer with packed weights and an optional residual."""

    inputs = ("x", "residual")

    def _packing(self) -> dict[str, Any]:
        names = {"x_zero_point": "x_zero_point", "output": "output", "residual": "residual_params", "table": "table"}
        return {argument: self.constant(name) for argument, name in names.items()}

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.constant("weight"), self.constant("bias"), self.constant("multiplier")


@computes(ops.int8_conv2d)
class Int8Conv2d(_Weighted):
    """uint8 [N, I, H, W] -> uint8 [N, O, OH, OW], channels last."""

    def derive(self) -> None:
        weight, bias, multiplier = self._tensors()
        geometry = ConvGeometry(
            *(weight.shape[0], weight.shape[2], weight.shape[3]),
            *(*self.constant("stride"), *self.constant("padding"), *self.constant("dilation"), self.constant("groups")),
        )
        depthwise = weight.shape[1] == 1 and geometry.groups == weight.shape[0]
        pack = kernels.pack_depthwise_conv2d if depthwise else kernels.pack_conv2d
        self.derived_packed = pack(weight, bias, multiplier, geometry=geometry, **self._packing())
        self.derived_geometry = list(geometry)
        self.derived_kernel = kernels.depthwise_conv2d if depthwise else kernels.conv2d

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        return self.derived_kernel(x, self.derived_packed, residual, self.derived_geometry)


@computes(ops.int8_linear)
class Int8Linear(_Weighted):
    """uint8 [..., K] -> uint8 [..., N]."""

    def derive(self) -> None:
        self.derived_packed = kernels.pack_linear(*self._tensors(), **self._packing())
        self.derived_features = self.constant("weight").shape[0]

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        return kernels.linear(x, self.derived_packed, residual, self.derived_features)


class _Plain(Layer):
    """A layer whose kernel takes its constants as plain arguments, in the order of the integer op."""

    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]

    def derive(self) -> None:
        self.derived_arguments = [argument for name in self.names for argument in _flat(self.constant(name))]

    def run(self, *inputs: Tensor) -> Tensor:
        return type(self).kernel(*inputs, *self.derived_arguments)


def _flat(value: Any) -> list[Any]:
    """A NamedTuple spread into its fields; anything else by itself, tuples as the lists that torch ops take."""
    if hasattr(value, "_fields"):
        return list(value)
    return [list(value) if isinstance(value, tuple) else value]


@computes(ops.int8_add)
class Int8Add(_Plain):
    """uint8 + uint8 -> uint8, broadcast."""

    inputs = ("a", "b")
    names = ("a_multiplier", "b_multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.add)


@computes(ops.int8_mul)
class Int8Mul(_Plain):
    """uint8 * uint8 -> uint8, broadcast."""

    inputs = ("a", "b")
    names = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.mul)


@computes(ops.lookup)
class Lookup(_Plain):
    """table[x] for every element of a uint8 tensor; one table, or one a channel."""

    names = ("table",)
    kernel = staticmethod(kernels.lookup)


@computes(ops.int8_pad)
class Int8Pad(Layer):
    """uint8 of any shape, larger by a border of one number."""

    def derive(self) -> None:
        self.derived_arguments = (self.constant("pad"), "constant", self.constant("value_code"))

    def run(self, x: Tensor) -> Any:
        return F.pad(x, *self.derived_arguments)


@computes(ops.int8_max_pool2d)
class Int8MaxPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel = staticmethod(kernels.max_pool2d)


@computes(ops.int8_avg_pool2d)
class Int8AvgPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = (
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        *("multiplier", "x_zero_point", "output"),
    )
    kernel = staticmethod(kernels.avg_pool2d)


@computes(ops.int8_adaptive_avg_pool2d)
class Int8AdaptiveAvgPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    names = ("output_size", "multiplier", "x_zero_point", "output")

    def run(self, *inputs: Tensor) -> Tensor:
        (x,), (output_size, *requantize) = inputs, self.derived_arguments
        return kernels.adaptive_avg_pool2d(x, known_size(x, output_size), *requantize)  # type: ignore[no-any-return]


class _Interpolate(Layer):
    """The output's size may depend on the input's, or be that of another tensor, so it is found at run time."""

    inputs = ("x", "size")
    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]

    def derive(self) -> None:
        self.derived_scale = self.constant("scale")
        self.derived_arguments = [self.constant(name) for name in self.names]

    def run(self, x: Tensor, size: Sequence[int] | int | None = None) -> Any:
        size, scale = resizing(x, size, self.derived_scale)
        return type(self).kernel(x, size, scale, *self.derived_arguments)


@computes(ops.int8_interpolate_bilinear)
class Int8InterpolateBilinear(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("align_corners", "x_zero_point")
    kernel = staticmethod(kernels.interpolate_bilinear)


@computes(ops.int8_interpolate_nearest)
class Int8InterpolateNearest(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    kernel = staticmethod(kernels.interpolate_nearest)


@computes(ops.quantize)
class Quantize(Layer):
    """float32 -> uint8; images become channels last."""

    takes_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point, q.quant_min, q.quant_max)

    def run(self, x: Tensor) -> Any:
        if not isinstance(x, Tensor):
            raise InputError(f"a {type(x).__name__}; pass a float32 tensor")
        if x.device.type != "cpu":
            raise InputError(f"a tensor on {x.device}; the kernels run on the CPU, so pass x.cpu()")
        return kernels.quantize(x, *self.derived_arguments)


@computes(ops.dequantize)
class Dequantize(Layer):
    """uint8 -> float32; images become contiguous."""

    gives_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point)

    def run(self, x: Tensor) -> Any:
        return kernels.dequantize(x, *self.derived_arguments)
