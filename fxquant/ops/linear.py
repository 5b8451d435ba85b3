"""linear   y[…, n] = bias[n] + sum over k of x[…, k] * weight[n, k]"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.arguments import Limits
from fxquant.ops.op import op, spelling


def _of_matrix(arguments: Limits) -> str | None:
    shape = arguments["weight"].meta.get("shape")
    return None if shape is None or len(shape) == 2 else "its weight is not a matrix"


@op(
    weight="weight",
    bias="bias",
    kernel=True,
    dynamic=True,
    weight_only=True,
    limits=_of_matrix,
    spellings=(F.linear,),
)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K], weight [N, K] -> [..., N]."""
    return F.linear(x, weight, bias)


@spelling(nn.Linear)
def _linear(m: Any, input: Any) -> Any:
    return linear(input, m.weight, m.bias)
