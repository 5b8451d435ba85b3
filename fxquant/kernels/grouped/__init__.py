"""linear whose weights have a scale for each output and group of inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.gemm import rows_of
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.packed_memory import packed_memory
from fxquant.target import active_isa


def pack_grouped(weight: Tensor, scale: Tensor) -> Tensor:
    """Packs int8 `weight` [N, K] with float32 `scale` [N, groups], for any activations: a 1-D uint8 tensor.

    Only the active ISA can run it. Raises InputError for other dtypes and shapes.
    """
    fits = weight.dtype is torch.int8 and weight.dim() == 2 and weight.numel() > 0
    if not (fits and scale.dtype is torch.float32 and scale.dim() == 2 and scale.shape[0] == weight.shape[0]):
        raise InputError(
            "weights of groups are int8 [out_features, in_features], their scales float32 [out_features, groups]; "
            f"got {weight.dtype} {list(weight.shape)} and {scale.dtype} {list(scale.shape)}"
        )
    outputs, inputs = weight.shape
    if scale.shape[1] == 0 or inputs % scale.shape[1]:
        raise InputError(f"{inputs} inputs cannot be divided into {scale.shape[1]} groups")
    dimensions = (inputs, outputs, inputs // scale.shape[1], active_isa())
    packed = packed_memory(_kernels.grouped_packed_size(*dimensions))
    weight, scale = weight.contiguous(), scale.contiguous()
    _kernels.grouped_pack(packed.data_ptr(), *dimensions, weight.data_ptr(), scale.data_ptr())
    return packed


@torch_op(
    "grouped_linear(Tensor x, Tensor packed, Tensor bias, float multiplier, int x_zero_point, int zero_point, "
    "int quant_min, int quant_max) -> Tensor",
    fake=lambda x, packed, bias, *_: x.new_empty((*x.shape[:-1], bias.numel())),
)
def grouped_linear(
    x: Tensor,
    packed: Tensor,
    bias: Tensor,
    multiplier: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """As of ops.int8_linear_grouped, on the result of `pack_grouped`: uint8 [..., K] -> uint8 [..., N], contiguous.

    Raises InputError for another dtype or shape, or weights packed for another ISA or size.
    """
    if x.dtype is not torch.uint8 or x.dim() == 0:
        raise InputError(f"linear takes a uint8 tensor [..., in_features], not {x.dtype} of shape {list(x.shape)}")
    x, bias = x.contiguous(), bias.contiguous()
    y = torch.empty((*x.shape[:-1], bias.numel()), dtype=torch.uint8)
    if y.numel() == 0:
        return y
    try:
        _kernels.grouped_linear(
            *(torch.get_num_threads(), view(rows_of(y)), view(rows_of(x)), packed.data_ptr(), packed.numel()),
            *(bias.data_ptr(), multiplier, x_zero_point, zero_point, quant_min, quant_max, active_isa()),
        )
    except ValueError as error:
        raise InputError(f"linear of {list(x.shape)}: {error}") from None
    return y


@torch_op(
    "dynamic_grouped_linear(Tensor x, Tensor packed, Tensor bias, int quant_min, int quant_max, float low, float high) "
    "-> Tensor",
    fake=lambda x, packed, bias, *_: x.new_empty((*x.shape[:-1], bias.numel())),
)
def dynamic_grouped_linear(
    x: Tensor, packed: Tensor, bias: Tensor, quant_min: int, quant_max: int, low: float, high: float
) -> Tensor:
    """As of ops.dynamic_linear_grouped, on the result of `pack_grouped`: float32 [..., K] -> [..., N], contiguous.

    Raises InputError for another dtype or shape, or weights packed for another ISA or size.
    """
    if x.dtype is not torch.float32 or x.dim() == 0:
        raise InputError(f"linear takes a float32 tensor [..., in_features], not {x.dtype} of shape {list(x.shape)}")
    x, bias = x.contiguous(), bias.contiguous()
    y = torch.empty((*x.shape[:-1], bias.numel()))
    if y.numel() == 0:
        return y
    rows, threads, isa = rows_of(x), torch.get_num_threads(), active_isa()
    codes = torch.empty(_kernels.dynamic_scratch(*rows.shape), dtype=torch.uint8)
    _kernels.dynamic_rows(threads, view(codes), view(rows), quant_min, quant_max, isa)
    constants = (packed.data_ptr(), packed.numel(), bias.data_ptr(), rows.shape[1], low, high, isa)
    try:
        _kernels.dynamic_grouped(threads, view(rows_of(y)), view(codes), *constants)
    except ValueError as error:
        raise InputError(f"linear of {list(x.shape)}: {error}") from None
    return y
