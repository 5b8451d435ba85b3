"""quantize and dequantize: the borders of an int8 region, with the change between NCHW and NHWC in the same pass."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import like, torch_op, view
from fxquant.target import active_isa

# Of images and of volumes.
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _quantized(x: Tensor) -> Tensor:
    if x.dim() in _CHANNELS_LAST:
        return torch.empty(x.shape, dtype=torch.uint8, memory_format=_CHANNELS_LAST[x.dim()], device=x.device)
    return like(x, torch.uint8)


def _dequantized(x: Tensor) -> Tensor:
    if x.dim() in _CHANNELS_LAST:
        return torch.empty(x.shape, dtype=torch.float32, device=x.device)
    return like(x, torch.float32)


def _fake_quantize(x: Tensor, scale: float, zero_point: int, quant_min: int, quant_max: int) -> Tensor:
    return _quantized(x)


@torch_op("quantize(Tensor x, float scale, int zero_point, int quant_min, int quant_max) -> Tensor", _fake_quantize)
def quantize(x: Tensor, scale: float, zero_point: int, quant_min: int, quant_max: int) -> Tensor:
    """clamp(rne(x / scale) + zero_point, quant_min, quant_max) as uint8; NaN gives quant_min.

    `x` is float32 of any shape and strides; images and volumes become channels last, any other result keeps the strides
    of `x`. Raises InputError for other dtypes.
    """
    if x.dtype is not torch.float32:
        raise InputError(f"quantize takes a float32 tensor, not {x.dtype}")
    y = _quantized(x)
    arguments = (scale, zero_point, quant_min, quant_max, active_isa())
    _kernels.quantize(torch.get_num_threads(), view(y), view(x), *arguments)
    return y


def _fake_dequantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    return _dequantized(x)


@torch_op("dequantize(Tensor x, float scale, int zero_point) -> Tensor", _fake_dequantize)
def dequantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """(x - zero_point) * scale as float32.

    `x` is uint8 of any shape and strides; a 4-D or 5-D result is contiguous, any other keeps the strides of `x`. Raises
    InputError for other dtypes.
    """
    if x.dtype is not torch.uint8:
        raise InputError(f"dequantize takes a uint8 tensor, not {x.dtype}")
    y = _dequantized(x)
    _kernels.dequantize(torch.get_num_threads(), view(y), view(x), scale, zero_point, active_isa())
    return y
