"""batch_norm   y = (x - running_mean[c]) / sqrt(running_var[c] + eps) * weight[c] + bias[c], with fixed statistics."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.arguments import Limits
from fxquant.ops.op import op, spelling


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
