"""Normalizations: y = (x - mean) / sqrt(variance + eps) * weight + bias.

batch_norm   fixed statistics, one of each a channel
layer_norm   statistics of the last dimensions
rms_norm     the same without a mean, and the mean square for the variance
group_norm   statistics of a group of channels of an example; instance_norm has a group a channel
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.arguments import Limits, expand_any, rank, shape_of
from fxquant.ops.op import op, spelling

# Sums of squares of as many bytes are exact, and so are their differences.
LARGEST_NORM = 1 << 22


def _not_of_inputs(arguments: Limits) -> str | None:
    if arguments["x"].op == "placeholder":
        return "it evens out the channels of the graph's own input, which one scale might not hold before"
    return None


@op(pointwise=True, limits=_not_of_inputs)
def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Channels are dimension 1: a table a channel."""
    return F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)


def _over_last(arguments: Limits) -> str | None:
    count = torch.Size(arguments["normalized_shape"]).numel()
    return None if 0 < count <= LARGEST_NORM else f"it normalizes {count} elements together; 1 to {LARGEST_NORM} fit"


@op(kernel=True, limits=_over_last)
def layer_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """x [..., *normalized_shape]; weight and bias, if any, are of `normalized_shape`."""
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


@op(kernel=True, limits=_over_last)
def rms_norm(x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """x / sqrt(mean(x * x) + eps) * weight, over the last dimensions `normalized_shape`."""
    return F.rms_norm(x, normalized_shape, weight, eps)


def _over_groups(arguments: Limits) -> str | None:
    shape = arguments["x"].meta.get("shape")
    if shape is None:
        return None
    count = shape[1:].numel() // arguments["num_groups"]
    return None if 0 < count <= LARGEST_NORM else f"it normalizes {count} elements together; 1 to {LARGEST_NORM} fit"


@op(kernel=True, limits=_over_groups)
def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """x [N, C, ...]; weight and bias [C], or None."""
    if num_groups == x.shape[1] and x.dim() > 2:  # group_norm wants more than one element a group
        return F.instance_norm(x, None, None, weight, bias, eps=eps)
    return F.group_norm(x, num_groups, weight, bias, eps)


@spelling(F.batch_norm)
def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None or running_var is None:
        raise TypeError("it normalizes by the statistics of each batch")
    return batch_norm(input, running_mean, running_var, weight, bias, eps)


def _constants(shape: Any) -> tuple[int, ...]:
    sizes = expand_any(shape)
    if not all(isinstance(size, int) for size in sizes):
        raise TypeError("its normalized_shape is computed while the model runs; it must be a constant")
    return sizes


@spelling(F.layer_norm)
def _layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return layer_norm(input, _constants(normalized_shape), weight, bias, eps)


@spelling(torch.layer_norm)
def _torch_layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enable: Any = True
) -> Any:
    return _layer_norm(input, normalized_shape, weight, bias, eps)


@spelling(nn.LayerNorm)
def _layer_norm_module(m: Any, input: Any) -> Any:
    return layer_norm(input, tuple(m.normalized_shape), m.weight, m.bias, m.eps)


@spelling(F.rms_norm, torch.rms_norm)
def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    return rms_norm(input, _constants(normalized_shape), weight, torch.finfo(torch.float32).eps if eps is None else eps)


@spelling(nn.RMSNorm)
def _rms_norm_module(m: Any, input: Any) -> Any:
    return _rms_norm(input, tuple(m.normalized_shape), m.weight, m.eps)


@spelling(F.group_norm)
def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return group_norm(input, num_groups, weight, bias, eps)


@spelling(torch.group_norm)
def _torch_group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: Any = True
) -> Any:
    return group_norm(input, num_groups, weight, bias, eps)


@spelling(nn.GroupNorm)
def _group_norm_module(m: Any, input: Any) -> Any:
    return group_norm(input, m.num_groups, m.weight, m.bias, m.eps)


@spelling(F.instance_norm)
def _instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps)
    shape = shape_of(input)
    if not isinstance(shape, torch.Size) or len(shape) < 3:
        raise TypeError("the number of its channels is unknown")
    return group_norm(input, shape[1], weight, bias, eps)


@spelling(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
def _instance_norm_module(m: Any, input: Any) -> Any:
    if rank(input) != {"InstanceNorm1d": 3, "InstanceNorm2d": 4, "InstanceNorm3d": 5}[m.class_name]:
        raise TypeError("its input has no batch dimension")
    # In eval mode, statistics that were tracked take the place of the input's.
    fixed = m.running_mean is not None
    return _instance_norm(input, m.running_mean, m.running_var, m.weight, m.bias, not fixed, eps=m.eps)
