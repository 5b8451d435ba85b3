"""One layer for each integer op: which kernel computes it, and what that kernel wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry, _kernels
from fxquant.ops.integer.pool import known_size
from fxquant.ops.integer.resize import resizing
from fxquant.runtime.call import NOTHING, Window
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Halo, Value
from fxquant.target import active_isa

if TYPE_CHECKING:
    from fxquant.runtime.planner import Planner


class _Weighted(Layer):
    """A layer with packed weights and an optional residual."""

    inputs = ("x", "residual")

    def _packing(self) -> dict[str, Any]:
        names = {"x_zero_point": "x_zero_point", "output": "output", "residual": "residual_params", "table": "table"}
        return {argument: self.constant(name) for argument, name in names.items()}

    def macs(self, shape: Sequence[int]) -> int:
        """For each output element, the weights of one output channel."""
        weight = self.constant("weight")
        return int(torch.Size(shape).numel() * weight[0].numel())

    def _residual(self, y: Value, residual: Value | None) -> Value | None:
        if residual is not None and residual.shape != y.shape:
            raise InputError(f"the residual must be of shape {list(y.shape)}, not {list(residual.shape)}")
        return residual

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
        # Depthwise kernels treat borders on their own; the product may write over the residual, tile by tile.
        self.overwrites = () if depthwise else (1,)
        self.halo = Halo() if depthwise else _halo(geometry)

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        return self.derived_kernel(x, self.derived_packed, residual, self.derived_geometry)

    def emit(self, planner: Planner, y: Value, x: Value, residual: Value | None = None) -> None:
        x, residual = planner.images(x), self._residual(y, residual)
        residual = None if residual is None else planner.images(residual)
        packed = (planner.constant(self.derived_packed), self.derived_packed.numel())
        geometry, has_halo = self.derived_geometry, x.halo.covers(self.halo)
        shape = {"rows": (0, y.shape[2]), "packed": packed}
        if self.derived_kernel is kernels.depthwise_conv2d:
            window = self._window() if _kernels.depthwise_in_rows(packed[0]) else None
            return planner.call("depthwise_conv2d", (y, x, residual), active_isa(), window=window, **shape)
        constants = (geometry, has_halo, active_isa())
        needed = _kernels.conv2d_scratch_size(y.native, x.native, *packed, *constants, torch.get_num_threads())
        scratch = planner.scratch(needed)
        window = self._window() if scratch is None else None
        operands = (y, x, residual, scratch)
        return planner.call("conv2d", operands, *constants, window=window, ahead=NOTHING, **shape)

    def _window(self) -> Window:
        g = ConvGeometry(*self.derived_geometry)
        return Window((g.kernel_h - 1) * g.dilation_h + 1, g.stride_h, g.pad_top)


def _halo(g: ConvGeometry) -> Halo:
    return Halo(max(g.pad_top, g.pad_bottom), max(g.pad_left, g.pad_right))


@computes(ops.int8_linear)
class Int8Linear(_Weighted):
    """uint8 [..., K] -> uint8 [..., N]."""

    def derive(self) -> None:
        self.derived_packed = kernels.pack_linear(*self._tensors(), **self._packing())
        self.derived_features = self.constant("weight").shape[0]

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        return kernels.linear(x, self.derived_packed, residual, self.derived_features)

    overwrites = (1,)
    any_strides = False

    def emit(self, planner: Planner, y: Value, x: Value, residual: Value | None = None) -> None:
        residual = self._residual(y, residual)
        operands = (planner.rows(y), planner.rows(x), None if residual is None else planner.rows(residual))
        packed = (planner.constant(self.derived_packed), self.derived_packed.numel())
        planner.call("linear", operands, active_isa(), packed=packed, ahead=NOTHING)


class _Plain(Layer):
    """A layer whose kernel takes its constants as plain arguments, in the order of the integer op."""

    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]
    native = ""  # the kernel's name in programs

    def derive(self) -> None:
        self.derived_arguments = [argument for name in self.names for argument in _flat(self.constant(name))]

    def run(self, *inputs: Tensor) -> Tensor:
        return type(self).kernel(*inputs, *self.derived_arguments)


class _Binary(_Plain):
    """Two tensors that broadcast to the result's shape."""

    inputs = ("a", "b")
    overwrites = (0, 1)

    def emit(self, planner: Planner, y: Value, a: Value, b: Value) -> None:
        operands = (y, *(x.viewed(lambda t: t.expand(y.shape)) for x in (a, b)))
        planner.call(self.native, operands, *self.derived_arguments, active_isa())


def _flat(value: Any) -> list[Any]:
    """A NamedTuple spread into its fields; anything else by itself, tuples as the lists that torch ops take."""
    if hasattr(value, "_fields"):
        return list(value)
    return [list(value) if isinstance(value, tuple) else value]


@computes(ops.int8_add)
class Int8Add(_Binary):
    """uint8 + uint8 -> uint8, broadcast."""

    names = ("a_multiplier", "b_multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.add)
    native = "add"


@computes(ops.int8_mul)
class Int8Mul(_Binary):
    """uint8 * uint8 -> uint8, broadcast."""

    names = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.mul)
    native = "mul"


@computes(ops.lookup)
class Lookup(_Plain):
    """table[x] for every element of a uint8 tensor; one table, or one a channel."""

    names = ("table",)
    kernel = staticmethod(kernels.lookup)
    overwrites = (0,)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        table = self.constant("table").contiguous()
        kernel = "lookup" if table.dim() == 1 else "lookup_per_channel"
        planner.call(kernel, (y, x), planner.constant(table), active_isa(), window=Window())


@computes(ops.int8_pad)
class Int8Pad(Layer):
    """uint8 of any shape, larger by a border of one number."""

    def derive(self) -> None:
        self.derived_arguments = (self.constant("pad"), "constant", self.constant("value_code"))

    def run(self, x: Tensor) -> Any:
        return F.pad(x, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        amounts, _, code = self.derived_arguments
        inner = y
        for i, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
            dim = len(x.shape) - 1 - i
            kept = x.shape[dim] + min(before, 0) + min(after, 0)
            x = x.narrow(dim, max(-before, 0), kept)
            inner = inner.narrow(dim, max(before, 0), kept)
        planner.call("fill", (y,), code)
        planner.call("copy", (inner, x))


@computes(ops.int8_max_pool2d)
class Int8MaxPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel = staticmethod(kernels.max_pool2d)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        windows = kernels.pool_windows(x.shape[2:], *self.derived_arguments)
        planner.call("max_pool2d", (y, planner.images(x)), *windows[1:], active_isa())


@computes(ops.int8_avg_pool2d)
class Int8AvgPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = (
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        *("multiplier", "x_zero_point", "output"),
    )
    kernel = staticmethod(kernels.avg_pool2d)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        kernel, stride, padding, ceil_mode, include_padding, divisor, *requantize = self.derived_arguments
        windows = kernels.pool_windows(x.shape[2:], kernel, stride, padding, (1,), ceil_mode)
        constants = (*windows[1:4], include_padding, divisor or 0, *requantize, active_isa())
        planner.call("avg_pool2d", (y, planner.images(x)), *constants)


@computes(ops.int8_adaptive_avg_pool2d)
class Int8AdaptiveAvgPool2d(_Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    names = ("output_size", "multiplier", "x_zero_point", "output")

    def run(self, *inputs: Tensor) -> Tensor:
        (x,), (output_size, *requantize) = inputs, self.derived_arguments
        return kernels.adaptive_avg_pool2d(x, known_size(x, output_size), *requantize)  # type: ignore[no-any-return]

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        planner.call("adaptive_avg_pool2d", (y, planner.images(x)), *self.derived_arguments[1:], active_isa())


class _Interpolate(Layer):
    """The output's size may depend on the input's, or be that of another tensor, so it is found at run time."""

    inputs = ("x", "size")
    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]
    native = ""  # the kernel's name in programs

    def derive(self) -> None:
        self.derived_scale = self.constant("scale")
        self.derived_arguments = [self.constant(name) for name in self.names]

    def run(self, x: Tensor, size: Sequence[int] | int | None = None) -> Any:
        size, scale = resizing(x, size, self.derived_scale)
        return type(self).kernel(x, size, scale, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value, size: Any = None) -> None:
        _, scale = resizing(x.meta(), size, self.derived_scale)
        planner.call(self.native, (y, planner.images(x)), *scale, *self.derived_arguments, active_isa())


@computes(ops.int8_interpolate_bilinear)
class Int8InterpolateBilinear(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("align_corners", "x_zero_point")
    kernel = staticmethod(kernels.interpolate_bilinear)
    native = "interpolate_bilinear"


@computes(ops.int8_interpolate_nearest)
class Int8InterpolateNearest(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    kernel = staticmethod(kernels.interpolate_nearest)
    native = "interpolate_nearest"


@computes(ops.quantize)
class Quantize(Layer):
    """float32 -> uint8; images become channels last."""

    takes_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point, q.quant_min, q.quant_max)

    def forward(self, *inputs: Any) -> Any:
        """Checks what the user passed, where it may be the model's input, and runs the kernel."""
        (x,) = inputs
        if not isinstance(x, Tensor):
            raise InputError(f"{self.where}: a {type(x).__name__}; pass a float32 tensor")
        if x.device.type != "cpu":
            raise InputError(f"{self.where}: a tensor on {x.device}; the kernels run on the CPU, so pass x.cpu()")
        return super().forward(x)

    def run(self, x: Tensor) -> Any:
        return kernels.quantize(x, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        if x.dtype is not torch.float32:
            raise InputError(f"quantize takes a float32 tensor, not {x.dtype}")
        planner.call("quantize", (y, x), *self.derived_arguments, active_isa(), window=Window())


@computes(ops.dequantize)
class Dequantize(Layer):
    """uint8 -> float32; images become contiguous."""

    gives_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point)

    def run(self, x: Tensor) -> Any:
        return kernels.dequantize(x, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        planner.call("dequantize", (y, x), *self.derived_arguments, active_isa())
