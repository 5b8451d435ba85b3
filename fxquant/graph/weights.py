"""Where the outputs are in an op's weight: dimension 0, but for transposed convolutions [I, O / groups, ...]."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant.ops.op import Op

TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def output_channels(row: Op, weight: Tensor, arguments: dict[str, Any]) -> int:
    """How many outputs an op with these arguments has."""
    return int(weight.shape[1] * arguments["groups"] if row.name in TRANSPOSED else weight.shape[0])


def scale_axis(row: Op, weight: Tensor, arguments: dict[str, Any]) -> int:
    """The dimension of the weight whose indices have a scale each.

    In a transposed convolution of several groups those of one index are shared by the groups, unless it is depthwise.
    """
    depthwise = weight.shape[1:2] == (1,) and arguments.get("groups") == weight.shape[0]
    return 1 if row.name in TRANSPOSED and not depthwise else 0
