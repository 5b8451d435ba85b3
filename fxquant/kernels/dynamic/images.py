"""Convolution of float32 whose inputs are quantized at run time, with a scale and a zero point an example, or for all.

s = (max(x, 0) - min(x, 0)) / 255, z = round(-min(x, 0) / s), q = clamp(round(x / s) + z, 0, 255)       of an example
y = clamp(float(sum over the window of (q - z) * weight[o]) * s * multiplier[o] + bias[o], low, high)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.conv import check_packable, conv_shape, run_conv
from fxquant.kernels.gemm import Layer, pack_product
from fxquant.kernels.geometry import ConvGeometry
from fxquant.kernels.library import torch_op, view
from fxquant.qparams import FloatOutput
from fxquant.target import active_isa

TERMS = 8  # bytes: the zero point of an example, int32, and its scale, float32


def pack_dynamic_conv2d(
    weight: Tensor, multiplier: Tensor, bias: Tensor, *, geometry: ConvGeometry, output: FloatOutput
) -> Tensor:
    """Packs int8 `weight` [O, I / groups, kh, kw], its scales `multiplier` and `bias`, float32 [O].

    `geometry` has no padding: `dynamic_quantize` gives its images a border. Returns a 1-D uint8 tensor that only the
    active ISA can run. Raises InputError for wrong dtypes, shapes or bounds, and for a reduction too long for int32.
    """
    check_packable(weight, geometry)
    return pack_product(
        *(Layer.DYNAMIC_CONV, weight, bias, multiplier),
        groups=geometry.groups,
        dense_w=geometry.dilation_w == 1,
        x_zero_point=0,
        output=output,
        residual=None,
        table=None,
    )


def codes_shape(shape: Sequence[int], borders: Sequence[int]) -> tuple[int, ...]:
    """Of the codes of `shape` [N, C, ...] with so many positions at both ends of each dimension behind."""
    n, c, *sizes = shape
    return (n, c, *(size + 2 * border for size, border in zip(sizes, borders, strict=True)))


def _codes(x: Tensor, borders: Sequence[int]) -> tuple[Tensor, Tensor]:
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    codes = torch.empty(codes_shape(x.shape, borders), dtype=torch.uint8, device=x.device, memory_format=last)
    return codes, torch.empty((x.shape[0], TERMS), dtype=torch.uint8, device=x.device)


@torch_op(
    "dynamic_quantize(Tensor x, int[] borders, bool by_example, int quant_min, int quant_max) -> (Tensor, Tensor)",
    fake=lambda x, borders, *_: _codes(x, borders),
)
def dynamic_quantize(
    x: Tensor, borders: list[int], by_example: bool, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    """Float32 `x` [N, C, H, W] or [N, C, D, H, W] in integers: uint8, channels last, and their terms, uint8 [N, TERMS].

    `borders`: how many zero points there are at both ends of each dimension. Raises InputError for another dtype.
    """
    if x.dtype is not torch.float32:
        raise InputError(f"it takes a float32 tensor, not {x.dtype}")
    codes, terms = _codes(x, borders)
    if x.numel() == 0:
        return codes, terms
    threads, levels = torch.get_num_threads(), (quant_min, quant_max, active_isa())
    scratch = torch.empty(_kernels.dynamic_terms_scratch(x.shape[0]), dtype=torch.uint8)
    _kernels.dynamic_terms(threads, view(terms), view(x), view(scratch), by_example, *levels)
    inside = codes
    if any(borders):
        _kernels.dynamic_zero_points(threads, view(codes), view(terms))
        for dim, (border, size) in enumerate(zip(borders, x.shape[2:], strict=True), 2):
            inside = inside.narrow(dim, border, size)
    _kernels.dynamic_codes(threads, view(inside), view(x), view(terms), *levels)
    return codes, terms


@torch_op(
    "dynamic_conv2d(Tensor x, Tensor terms, Tensor packed, int[] geometry) -> Tensor",
    fake=lambda x, terms, packed, geometry: x.new_empty(conv_shape(x, geometry), dtype=torch.float32),
)
def dynamic_conv2d(x: Tensor, terms: Tensor, packed: Tensor, geometry: list[int]) -> Tensor:
    """Uint8 `x` [N, I, H, W] with `terms` as of `dynamic_quantize`, convolved: contiguous float32 [N, O, OH, OW].

    Raises InputError for another dtype or shape, or weights packed for another ISA or geometry.
    """
    if terms.dtype is not torch.uint8 or terms.shape != (x.shape[0], TERMS):
        raise InputError(f"terms are uint8 [{x.shape[0]}, {TERMS}], not {terms.dtype} {list(terms.shape)}")
    rows = terms.contiguous().as_strided((x.shape[0], 1, 1, 1), (TERMS, 1, 0, 0))
    return run_conv(x, packed, rows, geometry, floats=True, kernel="dynamic_conv2d")
