"""Attention of float32 whose products are of integers that are made at run time."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.kernels.floats import run_attention
from fxquant.kernels.library import torch_op
from fxquant.kernels.matmul import attended


@torch_op(
    "dynamic_attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, float scale) -> Tensor",
    lambda query, key, value, *_: attended(query, key, value, torch.float32),
)
def dynamic_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> Tensor:
    """As of ops.dynamic_attention, of float32 [..., L, D], [..., S, D] and [..., S, E]; a row without any key is 0.

    The mask is float32 or bool. Raises InputError for other dtypes or shapes.
    """
    return run_attention("dynamic_attention", query, key, value, mask, causal, scale)
