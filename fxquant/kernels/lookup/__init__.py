"""lookup: any function of one uint8, as a table of its 256 values."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import like, torch_op, view
from fxquant.target import active_isa

TABLE_SIZE = 256


def _fake_lookup(x: Tensor, table: Tensor) -> Tensor:
    _check(x, table)
    return like(x, x.dtype)


def _check(x: Tensor, table: Tensor) -> None:
    if x.dtype is not torch.uint8 or table.dtype is not torch.uint8:
        raise InputError(f"lookup takes uint8 codes and a uint8 table, not {x.dtype} and {table.dtype}")
    if table.shape != (TABLE_SIZE,) and (x.dim() < 2 or table.shape != (x.shape[1], TABLE_SIZE)):
        raise InputError(
            f"lookup takes a table of shape [256] or [channels, 256], not {list(table.shape)} for x of {list(x.shape)}"
        )


@torch_op("lookup(Tensor x, Tensor table) -> Tensor", _fake_lookup)
def lookup(x: Tensor, table: Tensor) -> Tensor:
    """table[x], or table[c][x] for channel c (dim 1) if `table` is [C, 256].

    `x` is uint8 of any shape and strides; so is the result, dense. Raises InputError for other dtypes or table shapes.
    """
    _check(x, table)
    table, y = table.contiguous(), torch.empty_like(x)
    kernel = _kernels.lookup if table.dim() == 1 else _kernels.lookup_per_channel
    kernel(torch.get_num_threads(), view(y), view(x), table.data_ptr(), active_isa())
    return y
