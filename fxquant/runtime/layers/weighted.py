"""What several layers have in common: those with weights, and those that take real numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry
from fxquant.qparams import FloatOutput
from fxquant.runtime.layer import Layer
from fxquant.runtime.value import Value


def check_real(x: object) -> None:
    """Raises InputError unless the user passed a tensor on the CPU."""
    if not isinstance(x, Tensor):
        raise InputError(f"a {type(x).__name__}; pass a float32 tensor")
    if x.device.type != "cpu":
        raise InputError(f"a tensor on {x.device}; the kernels run on the CPU, so pass x.cpu()")


def check_float32(*values: Value) -> None:
    """Raises InputError for a value of a program that is not float32: the user's input may be."""
    for value in values:
        if value.dtype is not torch.float32:
            raise InputError(f"it takes a float32 tensor, not {value.dtype}")


class Weighted(Layer):
    """A layer with packed weights and an optional residual."""

    inputs: tuple[str, ...] = ("x", "residual")

    def _derive_output(self) -> None:
        """Whether the results are integers, as every `derive` has to know."""
        self.gives_integers = not isinstance(self.constant("output"), FloatOutput)

    @property
    def _floats(self) -> bool:
        return not self.gives_integers

    def _runs_depthwise(self, weight: Tensor, geometry: ConvGeometry) -> bool:
        """Whether the depthwise kernels compute a convolution with this weight; they give integers only."""
        return self.gives_integers and weight.shape[1] == 1 and geometry.groups == weight.shape[0]

    def _packing(self) -> dict[str, Any]:
        names = {"x_zero_point": "x_zero_point", "output": "output", "residual": "residual_params", "table": "table"}
        return {argument: self.constant(name) for argument, name in names.items()}

    def _residual(self, y: Value, residual: Value | None) -> Value | None:
        if residual is not None and residual.shape != y.shape:
            raise InputError(f"the residual must be of shape {list(y.shape)}, not {list(residual.shape)}")
        return residual

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.constant("weight"), self.constant("bias"), self.constant("multiplier")
