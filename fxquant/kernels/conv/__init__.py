"""Dense and grouped 2-D convolution on packed int8 weights, channels last.

acc = bias[o] + sum over the window of (x - x_zero_point) * weight[o]; padding reads x_zero_point
y = table[clamp(rne(float(acc) * multiplier[o] + residual_term) + zero_point, quant_min, quant_max)]
or, in float32, y = clamp(float(acc without bias) * multiplier[o] + bias[o], low, high)
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.gemm import Layer, output_dtype, pack_product, same_shape_residual
from fxquant.kernels.geometry import ConvGeometry
from fxquant.kernels.library import torch_op, view
from fxquant.qparams import FloatOutput, Requantize, Residual
from fxquant.target import active_isa

__all__ = ["ConvGeometry", "conv2d", "pack_conv2d"]


def pack_conv2d(
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    geometry: ConvGeometry,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """Packs int8 `weight` [O, I / groups, kh, kw], int32 `bias` [O] and float32 `multiplier` [O] for `conv2d`.

    For a FloatOutput `bias` is float32.

    Returns a 1-D uint8 tensor that only the active ISA can run. Raises InputError for wrong dtypes, shapes or bounds,
    and for a reduction too long for int32.
    """
    check_packable(weight, geometry)
    return pack_product(
        Layer.CONV,
        weight,
        bias,
        multiplier,
        groups=geometry.groups,
        dense_w=geometry.dilation_w == 1,
        x_zero_point=x_zero_point,
        output=output,
        residual=residual,
        table=table,
    )


def check_packable(weight: Tensor, geometry: ConvGeometry) -> None:
    """Raises InputError unless `geometry` is possible, and that of `weight`."""
    check_geometry(geometry)
    expected = (geometry.out_channels, geometry.kernel_h, geometry.kernel_w)
    if weight.dim() != 4 or (weight.shape[0], *weight.shape[2:]) != expected:
        raise InputError(f"a weight of shape {list(weight.shape)} does not fit {geometry}")


def check_geometry(geometry: ConvGeometry) -> None:
    """Raises InputError unless paddings are at least 0 and everything else is at least 1."""
    for name, value in geometry._asdict().items():
        if value < (0 if name.startswith("pad") else 1):
            raise InputError(f"{name} = {value} is not possible: {geometry}")


@functools.lru_cache(maxsize=4096)
def _output_shape(shape: tuple[int, ...], geometry: tuple[int, ...]) -> tuple[int, ...]:
    """Of images of `shape`, which must be possible."""
    if len(geometry) != len(ConvGeometry._fields):
        raise InputError(f"a geometry is {len(ConvGeometry._fields)} integers, as of ConvGeometry, not {geometry}")
    g = ConvGeometry(*geometry)
    check_geometry(g)
    out_h, out_w = g.output_size(*shape[2:])
    if out_h < 1 or out_w < 1:
        raise InputError(f"an image of {shape[2]} x {shape[3]} pixels is smaller than the kernel: {g}")
    return (shape[0], g.out_channels, out_h, out_w)


def conv_shape(x: Tensor, geometry: list[int]) -> tuple[int, ...]:
    """Of the result for `x`, which need not have numbers for sizes."""
    g = ConvGeometry(*geometry)
    return (x.shape[0], g.out_channels, *g.output_size(x.shape[2], x.shape[3]))


def _conv2d_shape(
    x: Tensor, packed: Tensor, residual: Tensor | None, geometry: list[int], floats: bool = False
) -> Tensor:
    y = x.new_empty(conv_shape(x, geometry), dtype=output_dtype(floats))
    return y.to(memory_format=_memory_format(floats))


def _memory_format(floats: bool) -> torch.memory_format:
    return torch.contiguous_format if floats else torch.channels_last


@torch_op(
    "conv2d(Tensor x, Tensor packed, Tensor? residual, int[] geometry, bool floats=False) -> Tensor",
    fake=_conv2d_shape,
)
def conv2d(x: Tensor, packed: Tensor, residual: Tensor | None, geometry: list[int], floats: bool = False) -> Tensor:
    """Uint8 `x` [N, I, H, W] convolved: uint8 channels_last [N, O, OH, OW]. `geometry` is a ConvGeometry as integers.

    `residual` has the output's shape. `floats`: the weights were packed for a FloatOutput, and the result is float32,
    contiguous. Raises InputError for another dtype or shape, or weights packed for another ISA or geometry.
    """
    return run_conv(x, packed, residual, geometry, floats, "conv2d")


def run_conv(
    x: Tensor, packed: Tensor, residual: Tensor | None, geometry: list[int], floats: bool, kernel: str
) -> Tensor:
    """`conv2d`, or another kernel of its form, whose `residual` has a form of its own."""
    if x.dtype is not torch.uint8 or x.dim() != 4:
        raise InputError(f"conv2d takes a uint8 tensor [N, C, H, W], not {x.dtype} of shape {list(x.shape)}")
    x = x.contiguous(memory_format=torch.channels_last)
    shape = _output_shape(x.shape, tuple(geometry))
    y = torch.empty(shape, dtype=output_dtype(floats), memory_format=_memory_format(floats))
    if kernel == "conv2d":
        residual = same_shape_residual(residual, y, torch.channels_last)
    images, weights = (view(y), view(x)), (packed.data_ptr(), packed.numel())
    constants, threads = (geometry, False, active_isa()), torch.get_num_threads()
    try:
        size = getattr(_kernels, f"{kernel}_scratch_size")(*images, *weights, *constants, threads)
        scratch = torch.empty(size, dtype=torch.uint8) if size else None
        operands, rows = (*images, view(residual), view(scratch)), (0, y.shape[2])
        run = getattr(_kernels, kernel)
        run(threads, *operands, *rows, *weights, 0, 0, geometry, False, floats, active_isa())
    except ValueError as error:
        raise InputError(f"conv2d of {list(x.shape)}: {error}") from None
    return y
