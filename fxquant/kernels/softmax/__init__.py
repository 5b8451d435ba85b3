"""softmax and log_softmax of uint8 tensors, with float scores on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.matmul import check_mask, scratch
from fxquant.target import active_isa


def _result(x: Tensor, dim: int) -> Tensor:
    if x.dtype is not torch.uint8 or not -x.dim() <= dim < x.dim():
        raise InputError(f"softmax takes a uint8 tensor with a dimension {dim}, not {x.dtype} of {list(x.shape)}")
    return torch.empty_like(x)


@torch_op(
    "softmax(Tensor x, Tensor? mask, int dim, float x_scale, int x_zero_point, float multiplier, int zero_point, "
    "int quant_min, int quant_max) -> Tensor",
    lambda x, mask, dim, *_: _result(x, dim),
)
def softmax(
    x: Tensor,
    mask: Tensor | None,
    dim: int,
    x_scale: float,
    x_zero_point: int,
    multiplier: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """softmax((x - x_zero_point) * x_scale + mask) along `dim`, as of ops.int8_softmax; multiplier = 1 / s_y.

    Raises InputError for another dtype, a dimension that is not there, or a mask that does not broadcast.
    """
    y = _result(x, dim)
    mask = None if mask is None else check_mask(mask, tuple(x.shape))
    rows = [None if t is None else t.movedim(dim, -1) for t in (y, x, mask)]
    memory = scratch(_kernels.softmax_scratch_size(x.shape[dim]))
    _kernels.softmax(
        *(torch.get_num_threads(), *map(view, rows), view(memory)),
        *(mask is not None and mask.dtype is torch.bool, x_scale, x_zero_point, multiplier),
        *(zero_point, quant_min, quant_max, active_isa()),
    )
    return y


@torch_op(
    "log_softmax(Tensor x, int dim, float x_scale, int x_zero_point, float multiplier, int zero_point, "
    "int quant_min, int quant_max) -> Tensor",
    lambda x, dim, *_: _result(x, dim),
)
def log_softmax(
    x: Tensor,
    dim: int,
    x_scale: float,
    x_zero_point: int,
    multiplier: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """log_softmax((x - x_zero_point) * x_scale) along `dim`, as of ops.int8_log_softmax. Errors as of `softmax`."""
    y = _result(x, dim)
    memory = scratch(_kernels.softmax_scratch_size(x.shape[dim]))
    _kernels.log_softmax(
        *(torch.get_num_threads(), view(y.movedim(dim, -1)), view(x.movedim(dim, -1)), view(memory)),
        *(x_scale, x_zero_point, multiplier, zero_point, quant_min, quant_max, active_isa()),
    )
    return y
