"""Arithmetic of two operands with broadcasting; a number may stand for one of them.

A number comes second where the order does not matter: 3 + x is add(x, 3), -x is mul(x, -1).
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from fxquant.ops.arguments import shape_of
from fxquant.ops.op import op, spelling

Operand = Tensor | float


@op(activations=("a", "b"), kernel=True, pointwise=True, commutative=True)
def add(a: Operand, b: Operand) -> Tensor:
    """a + b."""
    return a + b  # type: ignore[return-value]


@op(activations=("a", "b"), kernel=True, pointwise=True)
def sub(a: Operand, b: Operand) -> Tensor:
    """a - b."""
    return a - b  # type: ignore[return-value]


@op(activations=("a", "b"), kernel=True, pointwise=True, commutative=True)
def mul(a: Operand, b: Operand) -> Tensor:
    """a * b."""
    return a * b  # type: ignore[return-value]


# Divisors close to 0 lose most in int8, so a quotient of two float values is not worth it.
@op(activations=("a", "b"), kernel=True, pointwise=True, follows=True)
def div(a: Operand, b: Operand) -> Tensor:
    """a / b, a true division."""
    return a / b  # type: ignore[return-value]


@op(activations=("a", "b"), kernel=True, pointwise=True, follows=True, commutative=True)
def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of both, element by element."""
    return torch.maximum(a, b)


@op(activations=("a", "b"), kernel=True, pointwise=True, follows=True, commutative=True)
def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of both, element by element."""
    return torch.minimum(a, b)


def _operands(*values: Any) -> tuple[Any, ...]:
    for value in values:
        if isinstance(value, Proxy) and shape_of(value) is None:
            raise TypeError(f"{value.node.name} is a number computed while the model runs")
        if not isinstance(value, (Proxy, int, float)):
            raise TypeError(f"{value!r} is neither a tensor nor a real number")
    return values


def _tensor_first(a: Any, b: Any) -> tuple[Any, Any]:
    a, b = _operands(a, b)
    return (a, b) if isinstance(a, Proxy) else (b, a)


def _times(x: Any, alpha: Any) -> Any:
    return x if alpha == 1 else _mul(x, alpha) if isinstance(x, Proxy) else x * alpha


@spelling(operator.add, torch.add, "add", "__add__", "__radd__")
def _add(a: Any, other: Any, *, alpha: float = 1) -> Any:
    return add(*_tensor_first(a, _times(other, alpha)))


@spelling(operator.sub, torch.sub, torch.subtract, "sub", "subtract", "__sub__")
def _sub(a: Any, other: Any, *, alpha: float = 1) -> Any:
    return sub(*_operands(a, _times(other, alpha)))


@spelling(torch.rsub, "__rsub__")
def _rsub(a: Any, other: Any, *, alpha: float = 1) -> Any:
    return sub(*_operands(other, _times(a, alpha)))


@spelling(operator.mul, torch.mul, torch.multiply, "mul", "multiply", "__mul__", "__rmul__")
def _mul(a: Any, other: Any) -> Any:
    return mul(*_tensor_first(a, other))


@spelling(operator.truediv, torch.div, torch.divide, torch.true_divide, "div", "divide", "true_divide", "__truediv__")
def _div(a: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is not None:
        raise TypeError(f"rounding_mode={rounding_mode!r}")
    return div(*_operands(a, other))


@spelling(torch.addcmul, "addcmul")
def _addcmul(a: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return _add(a, _mul(tensor1, tensor2), alpha=value)


@spelling(torch.addcdiv, "addcdiv")
def _addcdiv(a: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return _add(a, _div(tensor1, tensor2), alpha=value)


@spelling("__rtruediv__", "__rdiv__")
def _rdiv(a: Any, other: Any) -> Any:
    return div(*_operands(other, a))


@spelling(operator.neg, torch.neg, torch.negative, "neg", "negative", "__neg__")
def _neg(a: Any) -> Any:
    return mul(*_operands(a, -1))


def _spell_extreme(extreme: Any, both: tuple[Any, ...], also_reduces: tuple[Any, ...]) -> None:
    """Functions that compare two tensors, and those that, without a second one, look for the extreme of the first."""

    @spelling(*both, *also_reduces)
    def call(input: Any, other: Any = None, *rest: Any, **more: Any) -> Any:
        if rest or more or not isinstance(other, Proxy) or shape_of(other) is None:
            raise TypeError(f"it looks for the {extreme.__name__} along a dimension")
        return extreme(input, other)


_spell_extreme(maximum, (torch.maximum, "maximum"), (torch.max, "max"))
_spell_extreme(minimum, (torch.minimum, "minimum"), (torch.min, "min"))
