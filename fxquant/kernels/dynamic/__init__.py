"""linear of float32 whose inputs are quantized at run time, with a scale and a zero point for each row, or for all."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.gemm import Layer, pack_product
from fxquant.kernels.library import torch_op
from fxquant.qparams import FloatOutput
from fxquant.target import active_isa


def pack_dynamic_linear(weight: Tensor, multiplier: Tensor, bias: Tensor, output: FloatOutput) -> Tensor:
    """Packs int8 `weight` [N, K], its scales `multiplier` and `bias`, float32 [N], for `dynamic_linear`.

    Returns a 1-D uint8 tensor that only the active ISA can run. Raises InputError for wrong dtypes, shapes or bounds,
    and for a reduction too long for int32.
    """
    if weight.dim() != 2:
        raise InputError(f"weight must be [out_features, in_features], not {list(weight.shape)}")
    return pack_product(
        *(Layer.DYNAMIC_LINEAR, weight[:, :, None, None], bias, multiplier),
        groups=1,
        dense_w=True,
        x_zero_point=0,
        output=output,
        residual=None,
        table=None,
    )


def pack_integer_bias(bias: Tensor, multiplier: Tensor, output: FloatOutput) -> Tensor:
    """A bias that `dynamic_linear` rounds to int32 for each row; the weights are packed with zeros in its place.

    `bias` and the scales `multiplier` float32 [N] -> what kernels read: both, and the bounds `output`, which apply to
    the sum. Raises InputError for other dtypes and shapes.
    """
    if bias.dtype is not torch.float32 or bias.dim() != 1 or multiplier.dtype is not torch.float32:
        raise InputError(f"bias and multiplier are float32 [out_features], not {bias.dtype} and {multiplier.dtype}")
    if bias.shape != multiplier.shape:
        raise InputError(f"there are {list(bias.shape)} biases and {list(multiplier.shape)} multipliers")
    return torch.cat([bias, multiplier, torch.tensor(output)])


class Packed(NamedTuple):
    """What a kernel call is told of packed weights, and of how their inputs are quantized."""

    address: int
    size: int
    by_row: bool
    quant_min: int
    quant_max: int
    integer_bias: int
    isa: int

    @classmethod
    def of(cls, packed: Tensor, by_row: bool, quant_min: int, quant_max: int, integer_bias: Tensor | None) -> Packed:
        """For as long as `packed` and `integer_bias` live."""
        bias = 0 if integer_bias is None else integer_bias.data_ptr()
        return cls(packed.data_ptr(), packed.numel(), by_row, quant_min, quant_max, bias, active_isa())


def dynamic_linear_now(x: Tensor, out_features: int, packed: Packed) -> Tensor:
    """`dynamic_linear`, which is a torch op, and takes longer to call. Raises InputError as it does."""
    if x.dtype is not torch.float32 or x.dim() == 0:
        raise InputError(f"linear takes a float32 tensor [..., in_features], not {x.dtype} of shape {list(x.shape)}")
    x = x.contiguous()
    *leading, depth = x.shape
    y = torch.empty((*leading, out_features))
    rows = math.prod(leading)
    if rows * out_features == 0:
        return y
    size = _kernels.dynamic_scratch(rows, depth)
    scratch = torch.empty(size, dtype=torch.uint8) if size > _kernels.dynamic_on_stack else None
    at = 0 if scratch is None else scratch.data_ptr()
    threads = torch.get_num_threads()
    try:
        _kernels.dynamic_linear_now(threads, y.data_ptr(), x.data_ptr(), rows, depth, out_features, at, *packed)
    except ValueError as error:
        raise InputError(f"linear of {list(x.shape)}: {error}") from None
    return y


@torch_op(
    "dynamic_linear(Tensor x, Tensor packed, int out_features, bool by_row, int quant_min, int quant_max, "
    "Tensor? integer_bias=None) -> Tensor",
    fake=lambda x, packed, out_features, *_: x.new_empty((*x.shape[:-1], out_features)),
)
def dynamic_linear(
    x: Tensor,
    packed: Tensor,
    out_features: int,
    by_row: bool,
    quant_min: int,
    quant_max: int,
    integer_bias: Tensor | None = None,
) -> Tensor:
    """As of ops.dynamic_linear, on the result of `pack_dynamic_linear`: float32 [..., K] -> [..., N], contiguous.

    `integer_bias`: what `pack_integer_bias` gives. Raises InputError for another dtype or shape, or weights packed for
    another ISA or size.
    """
    if integer_bias is not None and (integer_bias.dtype, integer_bias.numel()) != (torch.float32, 2 * out_features + 2):
        raise InputError("the bias was packed for another out_features")
    return dynamic_linear_now(x, out_features, Packed.of(packed, by_row, quant_min, quant_max, integer_bias))
