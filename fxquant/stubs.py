"""Modules that mark where quantization begins and ends, or what to observe, for models that were written with them.

fxquant reads models as they are and needs none of these: all compute in float, and vanish or become plain ops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.arguments import typed

__all__ = [
    "DeQuantStub",
    "FXFloatFunctional",
    "FloatFunctional",
    "QuantStub",
    "QuantWrapper",
]


class QuantStub(nn.Module):
    """The identity. `qconfig` is kept, not used: QConfigMapping says what is quantized."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        """`x`."""
        return x


class DeQuantStub(QuantStub):
    """The identity; see QuantStub."""


class QuantWrapper(nn.Module):
    """Calls `module`, between two stubs."""

    @typed
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.quant = QuantStub(getattr(module, "qconfig", None))
        self.dequant = DeQuantStub(getattr(module, "qconfig", None))
        self.module = module
        self.train(module.training)

    def forward(self, x: Tensor) -> Tensor:
        """`module(x)`."""
        result: Tensor = self.dequant(self.module(self.quant(x)))
        return result


class FloatFunctional(nn.Module):
    """Functions as methods of a module. Its own forward is not to be called."""

    def forward(self, x: Tensor) -> Tensor:
        """Raises RuntimeError."""
        raise RuntimeError("call one of the methods of FloatFunctional, such as add(x, y), not the module itself")

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y"""
        return torch.add(x, y)

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """x + y"""
        return torch.add(x, y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """x * y"""
        return torch.mul(x, y)

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """x * y"""
        return torch.mul(x, y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """The tensors of `x` along `dim`."""
        return torch.cat(x, dim=dim)

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """relu(x + y)"""
        return torch.relu(torch.add(x, y))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """x @ y"""
        return torch.matmul(x, y)


class FXFloatFunctional(FloatFunctional):
    """FloatFunctional under the name that it has in FX graph mode."""
