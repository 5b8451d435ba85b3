"""Linear on packed int8 weights, and the packing that linear and convolution share.

acc[m, n] = bias[n] + sum over k of (x[m, k] - x_zero_point) * weight[n, k]
y[m, n] = table[clamp(rne(float(acc) * multiplier[n] + residual_term) + zero_point, quant_min, quant_max)]
or, in float32, y[m, n] = clamp(float(acc without bias) * multiplier[n] + bias[n], low, high)
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.packed_memory import packed_memory
from fxquant.qparams import FloatOutput, Requantize, Residual
from fxquant.target import active_isa


class Layer(IntEnum):
    """What packed weights are for."""

    LINEAR = 0
    CONV = 1
    DYNAMIC_LINEAR = 2
    DYNAMIC_CONV = 3


def pack_product(
    layer: Layer,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    groups: int,
    dense_w: bool,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Residual | None,
    table: Tensor | None,
) -> Tensor:
    """Packs int8 `weight` [O, I / groups, kh, kw] for the active ISA: a 1-D uint8 tensor.

    `bias` is int32, or float32 where `output` is a FloatOutput; then there is neither residual nor table.
    `dense_w`: the kernel's columns touch (dilation 1). Raises InputError for what `check_weights` refuses, and for an
    output channel whose accumulator could leave int32.
    """
    check_weights(weight, bias, multiplier, x_zero_point=x_zero_point, output=output, residual=residual, table=table)
    out_channels, inputs, kernel_h, kernel_w = weight.shape
    if out_channels % groups != 0:
        raise InputError(f"{out_channels} output channels cannot be divided into {groups} groups")
    isa = active_isa()
    floats = isinstance(output, FloatOutput)
    dimensions = (int(layer), inputs * groups, out_channels, kernel_h, kernel_w, groups, dense_w, floats, isa)
    packed = packed_memory(_kernels.product_packed_size(*dimensions))
    weight, bias, multiplier = weight.contiguous(), bias.contiguous(), multiplier.contiguous()
    table = None if table is None else table.contiguous()
    term = residual or Residual(0, 0.0)
    refused = _kernels.product_pack(
        packed.data_ptr(),
        *dimensions,
        weight.data_ptr(),
        0 if floats else bias.data_ptr(),
        multiplier.data_ptr(),
        0 if table is None else table.data_ptr(),
        x_zero_point,
        *(Requantize(0) if isinstance(output, FloatOutput) else output),
        residual is not None,
        *term,
        bias.data_ptr() if floats else 0,
        *(output if isinstance(output, FloatOutput) else FloatOutput()),
    )
    if refused >= 0:
        raise InputError(
            f"the int32 accumulator of output channel {refused} could overflow: it sums {inputs * kernel_h * kernel_w} "
            f"products and a bias of {bias[refused]:g}; split the reduction or keep this layer in float"
        )
    return packed


def check_weights(
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Residual | None,
    table: Tensor | None,
) -> None:
    """Raises InputError unless dtypes, shapes and bounds are those of the contract."""
    outputs, floats = weight.shape[:1], isinstance(output, FloatOutput)
    if floats and (residual is not None or table is not None):
        raise InputError("a layer whose output is float has neither a residual nor a table")
    bias_dtype = torch.float32 if floats else torch.int32
    expected = [("weight", weight, torch.int8, weight.shape), ("bias", bias, bias_dtype, outputs)]
    expected.append(("multiplier", multiplier, torch.float32, outputs))
    if table is not None:
        expected.append(("table", table, torch.uint8, torch.Size([256])))
    for name, tensor, dtype, shape in expected:
        if tensor.dtype != dtype or tensor.shape != shape or tensor.device.type != "cpu":
            raise InputError(
                f"{name} must be a {dtype} CPU tensor of shape {list(shape)}, "
                f"not {tensor.dtype} of shape {list(tensor.shape)} on {tensor.device}"
            )
    if weight.numel() == 0:
        raise InputError(f"weight has no elements: its shape is {list(weight.shape)}")
    zero_points = [x_zero_point, residual.zero_point if residual else 0]
    if isinstance(output, FloatOutput):
        if not output.low <= output.high:
            raise InputError(f"low <= high does not hold for {output}")
    else:
        zero_points.append(output.zero_point)
        if not 0 <= output.quant_min <= output.quant_max <= 255:
            raise InputError(f"0 <= quant_min <= quant_max <= 255 does not hold for {output}")
    if not all(0 <= z <= 255 for z in zero_points):
        raise InputError(f"zero points must lie in 0..255, not {zero_points}")


def pack_linear(
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    *,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """Packs int8 `weight` [N, K], int32 `bias` [N] at scale s_x * s_w[n] and float32 `multiplier` [N] for `linear`.

    For a FloatOutput `bias` is float32, and `multiplier` s_x * s_w[n].

    Returns a 1-D uint8 tensor that only the active ISA can run. Raises InputError for wrong dtypes, shapes or bounds,
    and for a reduction too long for int32.
    """
    if weight.dim() != 2:
        raise InputError(f"weight must be [out_features, in_features], not {list(weight.shape)}")
    return pack_product(
        Layer.LINEAR,
        weight[:, :, None, None],
        bias,
        multiplier,
        groups=1,
        dense_w=True,
        x_zero_point=x_zero_point,
        output=output,
        residual=residual,
        table=table,
    )


def output_dtype(floats: bool) -> torch.dtype:
    """Of a layer packed for a FloatOutput, or for a Requantize."""
    return torch.float32 if floats else torch.uint8


def _linear_shape(
    x: Tensor, packed: Tensor, residual: Tensor | None, out_features: int, floats: bool = False
) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features), dtype=output_dtype(floats))


@torch_op(
    "linear(Tensor x, Tensor packed, Tensor? residual, int out_features, bool floats=False) -> Tensor",
    fake=_linear_shape,
)
def linear(x: Tensor, packed: Tensor, residual: Tensor | None, out_features: int, floats: bool = False) -> Tensor:
    """Uint8 `x` [..., K] times packed weights: uint8 [..., N], contiguous. `residual` has the output's shape.

    `floats`: the weights were packed for a FloatOutput, and the result is float32. Raises InputError for another dtype
    or shape, or weights packed for another ISA or size.
    """
    if x.dtype is not torch.uint8 or x.dim() == 0:
        raise InputError(f"linear takes a uint8 tensor [..., in_features], not {x.dtype} of shape {list(x.shape)}")
    x = x.contiguous()
    y = torch.empty((*x.shape[:-1], out_features), dtype=output_dtype(floats))
    residual = same_shape_residual(residual, y, torch.contiguous_format)
    if y.numel() == 0:
        return y
    try:
        _kernels.linear(
            torch.get_num_threads(),
            *(view(rows_of(y)), view(rows_of(x)), view(residual if residual is None else rows_of(residual))),
            *(packed.data_ptr(), packed.numel(), 0, 0, floats, active_isa()),
        )
    except ValueError as error:
        raise InputError(f"linear of {list(x.shape)}: {error}") from None
    return y


def rows_of(x: Tensor) -> Tensor:
    """A view of `x` [..., K] as [rows, K]."""
    return x.view(x.shape[:-1].numel(), x.shape[-1])


def same_shape_residual(residual: Tensor | None, y: Tensor, memory_format: torch.memory_format) -> Tensor | None:
    """`residual` laid out as `y`. Raises InputError unless it is a uint8 tensor of y's shape."""
    if residual is None:
        return None
    if residual.dtype is not torch.uint8 or residual.shape != y.shape:
        raise InputError(
            f"the residual must be uint8 of shape {list(y.shape)}, not {residual.dtype} of {list(residual.shape)}"
        )
    return residual.contiguous(memory_format=memory_format)
