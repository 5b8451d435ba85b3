"""Products of two float32 matrices by integers that are made at run time."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.kernels.library import torch_op
from fxquant.kernels.matmul import product_of, run_matmul


@torch_op("dynamic_matmul(Tensor a, Tensor b, float scale) -> Tensor", lambda a, b, *_: product_of(a, b, torch.float32))
def dynamic_matmul(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """As of ops.dynamic_matmul, of float32 [..., M, K] and [..., K, N], whose leading dimensions broadcast; contiguous.

    Raises InputError for other dtypes and for shapes that do not fit.
    """
    return run_matmul("dynamic_matmul", product_of(a, b, torch.float32), a, b, scale)
