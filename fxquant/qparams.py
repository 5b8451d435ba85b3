"""The arithmetic of int8: the only place where quantize, dequantize and requantize are written::

    quantize    q = clamp(round_half_even(x / scale) + zero_point, quant_min, quant_max)
    dequantize  x = (q - zero_point) * scale
    requantize  q = clamp(round_half_even(acc * multiplier + residual_term) + zero_point, quant_min, quant_max)
    to_float    y = clamp(acc * multiplier + bias, low, high)
    dynamic     s = max((high - low) / (quant_max - quant_min), 2^-126), zero_point = rne(quant_min - low / s)
                q = clamp(round_half_even(x * (1 / s)) + zero_point, quant_min, quant_max)
    bias        step = max(scale, |bias| / 2^30, 2^-126), round_half_even(bias / step) * step    of an int32 at a scale
    symmetric   s = max(max |x| / 127, 2^-126), q = 128 + clamp(round_half_even(x * (1 / s)), -127, 127)

after Jacob et al. 2017, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2.1 and 2.2. 0.0 is always exactly `zero_point`. All float arithmetic is float32, each operation
rounded on its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float | Tensor, int | Tensor)


class QParams(NamedTuple):
    """How real numbers are mapped to integers.

    `scale` is a float (per tensor) or a float32 tensor: of shape [channels] (per channel, along `axis`), or, without an
    axis, [outputs, groups] for equal groups of neighbours along dimension 1 of a matrix. `zero_point` is
    likewise an int or an int32 tensor; if it is a float32 tensor, 0.0 is no integer, and it is added before the
    rounding. In a graph a tensor may stand as the node that fetches it.
    """

    scale: float | Tensor
    zero_point: int | Tensor
    quant_min: int = 0
    quant_max: int = 255
    dtype: torch.dtype = torch.uint8
    axis: int | None = None


# Of zeros, for instance: the reciprocal of less would be infinite.
SMALLEST_SCALE = 2.0**-126
# float16, as if it were integers: rounded by the cast, of numbers that its largest one bounds.
FLOAT16 = QParams(1.0, 0, -65504, 65504, torch.float16)


class Requantize(NamedTuple):
    """What every output of an integer op goes through. relu and clamp after the op narrow the bounds."""

    zero_point: int
    quant_min: int = 0
    quant_max: int = 255


class FloatOutput(NamedTuple):
    """What every output of an integer op goes through that gives float32. relu and clamp after the op are bounds."""

    low: float = -math.inf
    high: float = math.inf


class Dynamic(NamedTuple):
    """How activations are quantized whose qparams are found at run time.

    `by_row`: row by row of the last dimension, images and volumes example by example; else all at once.
    """

    by_row: bool = True
    quant_min: int = 0
    quant_max: int = 255


class Residual(NamedTuple):
    """A uint8 tensor added before the rounding: float(r - zero_point) * multiplier, multiplier = s_r / s_y."""

    zero_point: int
    multiplier: float


def along_axis(values: Number, x: Tensor, axis: int | None) -> Number:
    """Values of channels, or of groups, as of QParams, shaped to broadcast against `x`; one value as it is."""
    if not isinstance(values, Tensor):
        return values
    if axis is None:
        return values.repeat_interleave(x.shape[1] // values.shape[1], 1) if values.dim() == 2 else values
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def round_and_saturate(value: Tensor, zero_point: int | Tensor, quant_min: int, quant_max: int) -> Tensor:
    """clamp(round_half_even(value) + zero_point, quant_min, quant_max) as float32; NaN becomes quant_min.

    The bounds are applied before the rounding, which gives the same integers and cannot overflow.
    """
    low, high = quant_min - zero_point, quant_max - zero_point
    value = torch.where(value > low, value, torch.as_tensor(low, dtype=value.dtype))
    value = torch.where(value > high, torch.as_tensor(high, dtype=value.dtype), value)
    return torch.round(value) + zero_point


def quantize(x: Tensor, q: QParams) -> Tensor:
    """Float32 `x` of any shape to integers of `q.dtype`, same shape; as FLOAT16 to float16."""
    if q.dtype is torch.float16:
        return x.float().clamp(q.quant_min, q.quant_max).to(q.dtype)
    value, zero_point = x.float() / along_axis(q.scale, x, q.axis), along_axis(q.zero_point, x, q.axis)
    if isinstance(zero_point, Tensor) and zero_point.is_floating_point():
        return round_and_saturate(value + zero_point, 0, q.quant_min, q.quant_max).to(q.dtype)
    return round_and_saturate(value, zero_point, q.quant_min, q.quant_max).to(q.dtype)


def dequantize(x: Tensor, q: QParams) -> Tensor:
    """Integers of any shape, or those of FLOAT16, to float32, same shape."""
    if q.dtype is torch.float16:
        return x.float()
    return (x.int() - along_axis(q.zero_point, x, q.axis)).float() * along_axis(q.scale, x, q.axis)


def dynamic_qparams(x: Tensor, dynamic: Dynamic) -> tuple[Tensor, Tensor]:
    """Of float32 `x` [..., K] scale float32 and zero point int32, [..., 1] by row, else [1].

    A row that holds a NaN or an infinity has a scale of NaN.
    """
    rows = x.double() if dynamic.by_row else x.double().reshape(-1)
    low, high = rows.amin(-1, True).clamp(max=0.0), rows.amax(-1, True).clamp(min=0.0)
    scale = ((high - low) / (dynamic.quant_max - dynamic.quant_min)).clamp(min=SMALLEST_SCALE)
    zero_point = torch.round(dynamic.quant_min - low / scale).clamp(dynamic.quant_min, dynamic.quant_max)
    finite = rows.isfinite().all(-1, True)
    zero_point = torch.where(finite, zero_point, torch.full_like(zero_point, dynamic.quant_min)).int()
    return torch.where(finite, scale, torch.full_like(scale, math.nan)).float(), zero_point


def dynamic_quantize(x: Tensor, dynamic: Dynamic) -> tuple[Tensor, Tensor, Tensor]:
    """The codes of `x`, uint8 of its shape, and their scale and zero point, as of `dynamic_qparams`."""
    scale, zero_point = dynamic_qparams(x, dynamic)
    codes = round_and_saturate(x * (1.0 / scale), zero_point, dynamic.quant_min, dynamic.quant_max)
    return codes.to(torch.uint8), scale, zero_point


def dynamic_images(x: Tensor, dynamic: Dynamic) -> tuple[Tensor, Tensor, Tensor]:
    """The same of images or volumes [N, C, ...] whose scales and zero points, [N, 1, ...] or [1, ...], are by example.

    Each example is divided by its scale, as by a quantize whose scale is known beforehand.
    """
    shape = (-1, *[1] * (x.dim() - 1))
    scale, zero_point = (each.reshape(shape) for each in dynamic_qparams(x.flatten(1), dynamic))
    codes = round_and_saturate(x / scale, zero_point, dynamic.quant_min, dynamic.quant_max)
    return codes.to(torch.uint8), scale, zero_point


def integer_bias(bias: Tensor, scale: Tensor) -> Tensor:
    """Float32 `bias` as a multiple of `scale` by an int32; `scale`, which broadcasts, may have to be wider."""
    step = torch.maximum(scale, narrowest_step(bias))
    return torch.round(bias / step) * step


def narrowest_step(bias: Tensor) -> Tensor:
    """The smallest scale at which each bias is surely an int32."""
    return (bias.abs() / _LARGEST_BIAS).clamp(min=SMALLEST_SCALE)


def symmetric_codes(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Symmetric codes of `x` around 128, uint8, and their scale, one over `dims`; NaN of no numbers."""
    scale = (x.abs().amax(dims, keepdim=True) / 127).clamp(min=SMALLEST_SCALE) if x.numel() else x.new_ones(())
    scale = torch.where(scale.isfinite(), scale, torch.nan)
    return round_and_saturate(x * (1.0 / scale), 128, 1, 255).to(torch.uint8), scale


def residual_term(r: Tensor, residual: Residual) -> Tensor:
    """The float32 summand that a uint8 residual `r` contributes before the rounding."""
    return (r.int() - residual.zero_point).float() * residual.multiplier


def requantize(acc: Tensor, multiplier: float | Tensor, output: Requantize, term: Tensor | None = None) -> Tensor:
    """int32 accumulators to uint8. `multiplier` (float32) broadcasts against `acc`; `term` as of `residual_term`."""
    value = acc.float() * multiplier
    if term is not None:
        value = value + term
    return round_and_saturate(value, output.zero_point, output.quant_min, output.quant_max).to(torch.uint8)


def to_float(acc: Tensor, multiplier: Tensor, bias: Tensor, output: FloatOutput) -> Tensor:
    """int32 accumulators to float32. `multiplier` and `bias` (float32) broadcast against `acc`."""
    return (acc.float() * multiplier + bias).clamp(output.low, output.high)


class IntegerParameters(NamedTuple):
    """Weights of a linear op as its kernel wants them, for `channels` output channels (dimension 0 of the weight).

    `weight` int8, the shape of the float weight; `bias` int32 [channels], at scale x_scale * weight_scale[channel];
    `multiplier` float32 [channels] = x_scale * weight_scale[channel] / y_scale.
    """

    weight: Tensor
    bias: Tensor
    multiplier: Tensor


# K * 255 * 128 must stay below 2**31, or an int32 accumulator could wrap (Numbers, docs/int8_arithmetic.md).
LONGEST_REDUCTION = (2**31 - 1) // (255 * 128)
# Beyond this a bias is too large for int32, together with the sum of products that it is added to.
_LARGEST_BIAS = 2.0**30
# As far as an accumulator may reach; what is left of int32 is room for the rounding of 65,793 shrunk weights.
_LARGEST_ACCUMULATOR = 2.0**31 - 2.0**24


def integer_parameters(
    weight: Tensor, weight_scale: float | Tensor, bias: Tensor | None, x_scale: float, y_scale: float
) -> IntegerParameters:
    """Bias and requantize multipliers of an int8 op (Jacob et al. 2017, section 2.4), computed in float64.

    Where a channel's bias, or its sum with 255 times every weight, would not fit into int32, the channel's scale is
    widened until it fits and its integer weights shrink accordingly.
    """
    channels = weight.shape[0]
    scale = torch.as_tensor(weight_scale, dtype=torch.float64).expand(channels)
    real_bias = torch.zeros(channels, dtype=torch.float64) if bias is None else bias.double()
    bias_size = real_bias.abs() / x_scale
    reach = bias_size + 255 * scale * weight.double().abs().flatten(1).sum(1)
    wide = torch.maximum(scale, torch.maximum(bias_size / _LARGEST_BIAS, reach / _LARGEST_ACCUMULATOR))
    shrink = (scale / wide).reshape(-1, *[1] * (weight.dim() - 1))
    return IntegerParameters(
        weight=torch.round(weight * shrink).to(torch.int8),
        bias=torch.round(real_bias / (x_scale * wide)).to(torch.int32),
        multiplier=(x_scale * wide / y_scale).float(),
    )


def float_parameters(
    weight: Tensor, weight_scale: float | Tensor, bias: Tensor | None, x_scale: float
) -> IntegerParameters:
    """The same of an op whose output is float: bias float32, and no y_scale."""
    real_bias = torch.zeros(weight.shape[0]) if bias is None else bias.float()
    found = integer_parameters(weight, weight_scale, None, x_scale, 1.0)
    return found._replace(bias=real_bias + 0.0)  # -0.0 would show in the sign of a zero


def float32(value: float) -> float:
    """`value` rounded to float32: what a kernel that computes in float32 is told."""
    return float(torch.tensor(value, dtype=torch.float32))


def code(value: float, q: QParams) -> int:
    """The integer that stands for one real number under per-tensor `q`."""
    return int(quantize(torch.tensor(value, dtype=torch.float32), q))


def saturate(q: QParams, low: float | None, high: float | None) -> QParams:
    """`q` with bounds narrowed so that quantize(clamp(x, low, high), q) == quantize(x, saturate(q, low, high)).

    Holds since rounding is monotonic.
    """
    quant_min = q.quant_min if low is None else code(low, q)
    quant_max = q.quant_max if high is None else code(high, q)
    return q._replace(quant_min=min(quant_min, quant_max), quant_max=quant_max)


def bounds(q: QParams) -> Requantize:
    """The last step of an integer op whose output has the per-tensor qparams `q`."""
    return Requantize(int(q.zero_point), q.quant_min, q.quant_max)


# Every uint8 value, in order: what a 256-entry table is computed from.
CODES = torch.arange(256, dtype=torch.uint8)
