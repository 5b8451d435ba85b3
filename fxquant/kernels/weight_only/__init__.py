"""linear of float32 with weights of int8 or float16, and a scale for each output, or for each group of its inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op
from fxquant.kernels.packed_memory import packed_memory
from fxquant.qparams import FloatOutput
from fxquant.target import active_isa


def pack_weight_only(weight: Tensor, scale: Tensor, bias: Tensor, output: FloatOutput) -> Tensor:
    """Packs int8 or float16 `weight` [N, K], `scale` [N, groups] and `bias` [N], float32: a 1-D uint8 tensor.

    Only the active ISA can run it. Raises InputError for other dtypes and shapes.
    """
    outputs, inputs = weight.shape if weight.dim() == 2 else (0, 0)
    groups = scale.shape[1] if scale.dim() == 2 else 0
    fits = weight.dtype in (torch.int8, torch.float16) and weight.numel() > 0 and groups > 0 and inputs % groups == 0
    reals = scale.dtype is torch.float32 and bias.dtype is torch.float32
    if not (fits and reals and scale.shape[0] == outputs and bias.shape == (outputs,)):
        raise InputError(
            "weights are int8 or float16 [out_features, in_features], scales float32 [out_features, groups], groups of "
            f"one size, and biases float32 [out_features]; got {weight.dtype} {list(weight.shape)}, {scale.dtype} "
            f"{list(scale.shape)} and {bias.dtype} {list(bias.shape)}"
        )
    dimensions = (inputs, outputs, inputs // groups, weight.element_size(), active_isa())
    packed = packed_memory(_kernels.weight_only_packed_size(*dimensions))
    tensors = [tensor.contiguous() for tensor in (weight, scale, bias)]
    _kernels.weight_only_pack(packed.data_ptr(), *dimensions, *(tensor.data_ptr() for tensor in tensors), *output)
    return packed


def weight_only_linear_now(x: Tensor, out_features: int, packed: tuple[int, int, int]) -> Tensor:
    """`weight_only_linear`, which is a torch op, and takes longer to call. Raises InputError as it does.

    `packed`: address, size and ISA of packed weights.
    """
    if x.dtype not in (torch.float32, torch.bfloat16) or x.dim() == 0:
        wanted = "a float32 or bfloat16 tensor [..., in_features]"
        raise InputError(f"linear takes {wanted}, not {x.dtype} of shape {list(x.shape)}")
    x = x.contiguous()
    *leading, depth = x.shape
    y, rows = torch.empty((*leading, out_features), dtype=x.dtype), math.prod(leading)
    if rows == 0:
        return y
    threads = torch.get_num_threads()
    try:
        if x.dtype is torch.bfloat16:
            scratch = torch.empty(halves_scratch(threads, rows, depth, out_features, packed), dtype=torch.uint8)
            tensors = (y.data_ptr(), x.data_ptr(), rows, depth, out_features, scratch.data_ptr())
            _kernels.weight_only_halves_now(threads, *tensors, *packed)
            return y
        _kernels.weight_only_linear_now(threads, y.data_ptr(), x.data_ptr(), rows, depth, out_features, *packed)
    except ValueError as error:
        raise InputError(f"linear of {list(x.shape)}: {error}") from None
    return y


def halves_scratch(threads: int, rows: int, depth: int, out_features: int, packed: tuple[int, int, int]) -> int:
    """Bytes of scratch for a product of bfloat16 rows. Raises ValueError if they do not fit the packed weights."""
    return int(_kernels.weight_only_halves_scratch(threads, rows, depth, out_features, *packed))


@torch_op(
    "weight_only_linear(Tensor x, Tensor packed, int out_features) -> Tensor",
    fake=lambda x, packed, out_features: x.new_empty((*x.shape[:-1], out_features)),
)
def weight_only_linear(x: Tensor, packed: Tensor, out_features: int) -> Tensor:
    """As of ops.weight_only_linear, on the result of `pack_weight_only`: [..., K] -> [..., N], contiguous.

    float32, or bfloat16 with sums of float32. Raises InputError for another dtype or shape, or weights
    packed for another ISA or size.
    """
    return weight_only_linear_now(x, out_features, (packed.data_ptr(), packed.numel(), active_isa()))
