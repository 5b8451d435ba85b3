"""Products of two activations: matmul, and attention as one kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.target import active_isa


def dense_rows(x: Tensor) -> Tensor:
    """`x` with the elements of a row side by side: itself, or a copy."""
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()


def scratch(bytes_for_a_thread: int) -> Tensor:
    """Memory for all threads."""
    return torch.empty(bytes_for_a_thread * torch.get_num_threads(), dtype=torch.uint8)


def product_of(a: Tensor, b: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """The empty result of a @ b."""
    if a.dtype is not dtype or b.dtype is not dtype or a.dim() < 2 or b.dim() < 2:
        name = str(dtype).removeprefix("torch.")
        raise InputError(
            f"matmul takes {name} matrices, not {a.dtype} of shape {list(a.shape)} and {b.dtype} of {list(b.shape)}"
        )
    if a.shape[-1] != b.shape[-2]:
        raise InputError(f"shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied")
    try:
        leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError:
        raise InputError(f"leading dimensions of {list(a.shape)} and {list(b.shape)} do not broadcast") from None
    return a.new_empty((*leading, a.shape[-2], b.shape[-1]))


@torch_op(
    "matmul(Tensor a, Tensor b, float multiplier, int a_zero_point, int b_zero_point, int zero_point, int quant_min, "
    "int quant_max) -> Tensor",
    lambda a, b, *_: product_of(a, b),
)
def matmul(
    a: Tensor,
    b: Tensor,
    multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """clamp(rne(float(sum over k of (a - a_zero_point) * (b - b_zero_point)) * multiplier) + zero_point), contiguous.

    uint8 [..., M, K] and [..., K, N], whose leading dimensions broadcast. Raises InputError for other dtypes and for
    shapes that do not fit.
    """
    settings = (multiplier, a_zero_point, b_zero_point, zero_point, quant_min, quant_max)
    return run_matmul("matmul", product_of(a, b), a, b, *settings)


def run_matmul(kernel: str, y: Tensor, a: Tensor, b: Tensor, *settings: float) -> Tensor:
    """Writes the product of `a` and `b` to `y`, which is returned."""
    if y.numel() == 0:
        return y
    a, b = (x.expand(*y.shape[:-2], *x.shape[-2:]) for x in (dense_rows(a), b))
    views, isa = (view(y), view(a), view(b)), active_isa()
    memory = scratch(getattr(_kernels, f"{kernel}_scratch_size")(*views, isa))
    getattr(_kernels, kernel)(torch.get_num_threads(), *views, view(memory), *settings, isa)
    return y


def attended(query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """The empty result: [..., L, E], in memory [..., L, heads, E], as the projection that follows reads it."""
    if any(x.dtype is not dtype or x.dim() < 2 for x in (query, key, value)):
        name = str(dtype).removeprefix("torch.")
        raise InputError(f"attention takes {name} tensors, not {query.dtype}, {key.dtype} and {value.dtype}")
    fits = query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    if not fits or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise InputError(
            f"query {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)} do not fit together"
        )
    shape = (*query.shape[:-1], value.shape[-1])
    if len(shape) < 3:
        return query.new_empty(shape)
    return query.new_empty((*shape[:-3], shape[-2], shape[-3], shape[-1])).transpose(-3, -2)


# Floats that become float32 where they are masks.
HALVES = (torch.float16, torch.bfloat16)


def check_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`mask` expanded to `shape`, float32 if it is of 16-bit floats.

    Raises InputError for another dtype but float32 and bool, and if it does not broadcast.
    """
    if mask.dtype in HALVES:
        mask = mask.float()
    if mask.dtype not in (torch.float32, torch.bool):
        raise InputError(f"a mask is bool or of floats of at most 32 bits, not {mask.dtype}")
    try:
        return mask.expand(shape)
    except RuntimeError:
        raise InputError(f"a mask of {list(mask.shape)} does not broadcast to {list(shape)}") from None


@torch_op(
    "attention(Tensor query, Tensor key, Tensor value, Tensor? mask, float score_multiplier, int query_zero_point, "
    "int key_zero_point, float value_multiplier, int value_zero_point, int zero_point, int quant_min, int quant_max, "
    "bool causal) -> Tensor",
    lambda query, key, value, *_: attended(query, key, value),
)
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    score_multiplier: float,
    query_zero_point: int,
    key_zero_point: int,
    value_multiplier: float,
    value_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    causal: bool,
) -> Tensor:
    """softmax(scores + mask) @ value as of ops.int8_attention; uint8 [..., L, D], [..., S, D] and [..., S, E].

    Raises InputError for other dtypes, and for shapes that do not fit.
    """
    y = attended(query, key, value)
    mask = None if mask is None else check_mask(mask, (*y.shape[:-1], key.shape[-2]))
    if y.numel() == 0:
        return y
    query = dense_rows(query)
    views = (view(y), view(query), view(key), view(value))
    isa = active_isa()
    memory = scratch(_kernels.attention_scratch_size(*views, isa))
    _kernels.attention(
        *(torch.get_num_threads(), *views, view(mask), view(memory)),
        *(mask is not None and mask.dtype is torch.bool, score_multiplier, query_zero_point, key_zero_point),
        *(value_multiplier, value_zero_point, zero_point, quant_min, quant_max, causal, isa),
    )
    return y
