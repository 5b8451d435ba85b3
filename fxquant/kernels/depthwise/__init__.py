"""Depthwise convolution: filters packed once, then

    y[n, c] = table[requantize(sum((x[n, c] - x_zero_point) * weight[c]) + bias[c], multiplier[c], residual)]

for every channel on its own. Weights int8 symmetric, accumulators exact int32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.conv import check_geometry
from fxquant.kernels.gemm import check_weights, same_shape_residual
from fxquant.kernels.geometry import ConvGeometry
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.packed_memory import packed_memory
from fxquant.qparams import Requantize, Residual
from fxquant.target import active_isa


def pack_depthwise_conv2d(
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    geometry: ConvGeometry,
    x_zero_point: int,
    output: Requantize,
    residual: Residual | None = None,
    table: Tensor | None = None,
    isa: int | None = None,
) -> Tensor:
    """Filters for `depthwise_conv2d`, in the layout of `isa` (default: the active one), as a 1-D uint8 tensor.

    `weight` int8 [channels, 1, kernel_h, kernel_w]; `bias` int32 [channels] at the scale of the accumulators;
    `multiplier` float32 [channels]; `table` uint8 [256], applied last. Raises InputError if a tensor is none of these,
    or if some input could overflow an int32 accumulator.
    """
    g = geometry
    check_geometry(g)
    if g.groups != g.out_channels:
        raise InputError(f"not the geometry of a depthwise convolution: {g}")
    check_weights(weight, bias, multiplier, x_zero_point=x_zero_point, output=output, residual=residual, table=table)
    if weight.shape != (g.out_channels, 1, g.kernel_h, g.kernel_w):
        raise InputError(f"a weight of shape {list(weight.shape)} does not fit {g}")
    isa = active_isa() if isa is None else isa
    packed = packed_memory(_kernels.depthwise_packed_bytes(g.out_channels, tuple(g[1:11]), isa))
    weight, bias, multiplier = weight.contiguous(), bias.contiguous(), multiplier.contiguous()
    table = None if table is None else table.contiguous()
    term = Residual(0, 0.0) if residual is None else residual
    fits = _kernels.depthwise_pack(
        weight.data_ptr(),
        bias.data_ptr(),
        multiplier.data_ptr(),
        0 if table is None else table.data_ptr(),
        g.out_channels,
        tuple(g[1:11]),
        x_zero_point,
        *output,
        residual is not None,
        *term,
        packed.data_ptr(),
        isa,
    )
    if not fits:
        raise InputError("a bias is so large that an accumulator could overflow int32")
    return packed


def _output_size(geometry: Sequence[int], h: int, w: int) -> tuple[int, int]:
    g = ConvGeometry(*geometry)
    oh, ow = g.output_size(h, w)
    if oh < 1 or ow < 1:
        raise InputError(f"an image of {h} x {w} is too small for the kernel: {g}")
    return oh, ow


_cached_output_size = functools.lru_cache(_output_size)


def _fake(x: Tensor, packed: Tensor, residual: Tensor | None, geometry: Sequence[int]) -> Tensor:
    n, c, h, w = x.shape
    size = (n, c, *_output_size(geometry, h, w))
    return torch.empty(size, dtype=torch.uint8, device=x.device, memory_format=torch.channels_last)


@torch_op("depthwise_conv2d(Tensor x, Tensor packed, Tensor? residual, int[] geometry) -> Tensor", _fake)
def depthwise_conv2d(x: Tensor, packed: Tensor, residual: Tensor | None, geometry: Sequence[int]) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 channels_last [N, C, OH, OW]; `residual` has the shape of the result.

    `packed` as of pack_depthwise_conv2d, with this geometry. Raises InputError if the tensors do not fit together.
    """
    if x.dtype != torch.uint8 or x.dim() != 4:
        raise InputError(f"depthwise_conv2d takes a uint8 tensor [N, C, H, W], not {x.dtype} of shape {list(x.shape)}")
    x = x.contiguous(memory_format=torch.channels_last)
    n, c, h, w = x.shape
    oh, ow = _cached_output_size(tuple(geometry), h, w)
    y = torch.empty((n, c, oh, ow), dtype=torch.uint8, memory_format=torch.channels_last)
    residual = same_shape_residual(residual, y, torch.channels_last)
    if n == 0:
        return y  # without an image no tensor has an address
    try:
        _kernels.depthwise_conv2d(
            torch.get_num_threads(),
            *(view(y), view(x), view(residual)),
            *(0, oh),
            *(packed.data_ptr(), packed.numel(), active_isa()),
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    return y
