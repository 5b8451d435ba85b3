"""Bilinear and nearest interpolation of uint8 images; the result has the input's qparams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.target import active_isa


def _result(x: Tensor, output_size: Sequence[int], scale: Sequence[float]) -> Tensor:
    """The empty channels_last result. Raises InputError for what cannot be interpolated."""
    if x.dtype is not torch.uint8 or x.dim() != 4:
        raise InputError(f"int8 interpolation takes a uint8 tensor [N, C, H, W], not {x.dtype} {list(x.shape)}")
    n, c, h, w = x.shape
    if len(output_size) != 2 or len(scale) != 2 or min(output_size) < 1 or h == 0 or w == 0:
        raise InputError(
            "interpolation needs two sizes and two scales, of images with at least one pixel; got output_size "
            f"{list(output_size)} and scale {list(scale)} for {list(x.shape)}"
        )
    shape = (n, c, output_size[0], output_size[1])
    return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last, device=x.device)


def _fake_bilinear(
    x: Tensor, output_size: Sequence[int], scale: Sequence[float], align_corners: bool, x_zero_point: int
) -> Tensor:
    return _result(x, output_size, scale)


@torch_op(
    "interpolate_bilinear(Tensor x, int[] output_size, float[] scale, bool align_corners, int x_zero_point) -> Tensor",
    _fake_bilinear,
)
def interpolate_bilinear(
    x: Tensor, output_size: Sequence[int], scale: Sequence[float], align_corners: bool, x_zero_point: int
) -> Tensor:
    """uint8 [N, C, H, W] to uint8 channels_last [N, C, *output_size], between pixels as torch does in float32.

    `scale`: output size / input size along H and W as the user gave it, or <= 0: from the sizes. Raises InputError for
    other dtypes and shapes.
    """
    y = _result(x, output_size, scale)
    x = x.contiguous(memory_format=torch.channels_last)
    arguments = (*scale, align_corners, x_zero_point, active_isa())
    _kernels.interpolate_bilinear(torch.get_num_threads(), view(y), view(x), *arguments)
    return y


def _fake_nearest(x: Tensor, output_size: Sequence[int], scale: Sequence[float]) -> Tensor:
    return _result(x, output_size, scale)


@torch_op("interpolate_nearest(Tensor x, int[] output_size, float[] scale) -> Tensor", _fake_nearest)
def interpolate_nearest(x: Tensor, output_size: Sequence[int], scale: Sequence[float]) -> Tensor:
    """uint8 [N, C, H, W] to uint8 channels_last [N, C, *output_size]: torch's "nearest".

    `scale` and errors as of `interpolate_bilinear`.
    """
    y = _result(x, output_size, scale)
    x = x.contiguous(memory_format=torch.channels_last)
    _kernels.interpolate_nearest(torch.get_num_threads(), view(y), view(x), *scale, active_isa())
    return y
