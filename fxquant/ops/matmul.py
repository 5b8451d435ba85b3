"""matmul   y[…, m, n] = scale * sum over k of a[…, m, k] * b[…, k, n]

Both operands are activations, and leading dimensions broadcast. A number that the product or an operand is multiplied
by becomes `scale`: it costs nothing, and nothing is rounded for it.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from fxquant.ops.arguments import Limits, rank
from fxquant.ops.elementwise import add, mul
from fxquant.ops.op import op, spelling
from fxquant.ops.shape import permute, squeeze, unsqueeze

# K * 255 * 255 must stay below 2**31, or an int32 accumulator could wrap.
LONGEST_PRODUCT = (2**31 - 1) // (255 * 255)


def _limits(arguments: Limits) -> str | None:
    a, b = (arguments[name].meta.get("shape") for name in ("a", "b"))
    if a is None or b is None:
        return None
    if len(a) < 2 or len(b) < 2:
        return "one of its operands is a vector"
    if a[-1] > LONGEST_PRODUCT:
        return f"a reduction over {a[-1]} elements could overflow int32; at most {LONGEST_PRODUCT} fit"
    return None


@op(activations=("a", "b"), kernel=True, dynamic=True, limits=_limits)
def matmul(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
    """a [..., M, K], b [..., K, N] -> [..., M, N]."""
    y = torch.matmul(a, b)
    return y if scale == 1.0 else y * scale


@spelling(operator.matmul, torch.matmul, "matmul", "__matmul__")
def _matmul(a: Any, other: Any) -> Any:
    if not isinstance(a, Proxy) or not isinstance(other, Proxy):
        raise TypeError("one of its operands is not a tensor")
    ranks = rank(a), rank(other)
    if ranks == (1, 1):
        raise TypeError("it is a product of two vectors")
    if ranks[0] == 1:
        return squeeze(matmul(unsqueeze(a, 0), other), (ranks[1] - 2,))  # type: ignore[arg-type]
    if ranks[1] == 1:
        return squeeze(matmul(a, unsqueeze(other, 1)), (ranks[0] - 1,))  # type: ignore[arg-type]
    return matmul(a, other)  # type: ignore[arg-type]


@spelling(torch.bmm, torch.mm, "bmm", "mm")
def _mm(a: Any, mat2: Any) -> Any:
    return _matmul(a, mat2)


@spelling(torch.mv, "mv")
def _mv(a: Any, vec: Any) -> Any:
    return _matmul(a, vec)


@spelling(torch.baddbmm, "baddbmm")
def _baddbmm(a: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    product = matmul(batch1, batch2, float(alpha))
    if beta == 0:
        return product
    return add(product, a if beta == 1 else mul(a, beta))


@spelling(torch.addmm, "addmm")
def _addmm(a: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return _baddbmm(a, mat1, mat2, beta=beta, alpha=alpha)


@spelling(torch.einsum, torch.functional.einsum)
def _einsum(equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2:
        raise TypeError("it is no product of two tensors, written as a string")
    a, b = operands
    product = _Einsum(equation, rank(a), rank(b))
    return _reordered(matmul(_reordered(a, product.a_order), _reordered(b, product.b_order)), product.y_order)


def _reordered(x: Any, order: tuple[int, ...]) -> Any:
    return x if order == tuple(sorted(order)) else permute(x, order)


class _Einsum:
    """The orders that make a matrix product of an equation of two operands.

    Of the letters in both operands one is summed over, and the others, which the result has too, are batches; each
    operand has one letter of its own. Raises TypeError for all other equations.
    """

    def __init__(self, equation: str, a_rank: int, b_rank: int) -> None:
        left, arrow, result = equation.replace(" ", "").partition("->")
        a, comma, b = left.partition(",")
        if not arrow or not comma:
            raise TypeError(f"the equation {equation!r} has not the form of a matrix product, ab,bc->ac")
        letters = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
        dots = max(a_rank - len(a.replace("...", "")), b_rank - len(b.replace("...", "")))
        if "..." in a and "..." in b and a_rank - len(a) != b_rank - len(b):
            raise TypeError(f"the equation {equation!r} broadcasts one operand")
        a, b, result = (each.replace("...", "".join(letters[:dots])) for each in (a, b, result))
        shared = [c for c in a if c in b]
        batches = [c for c in shared if c in result]
        summed = [c for c in shared if c not in result]
        rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
        fits = len(a) == len(set(a)) == a_rank and len(b) == len(set(b)) == b_rank
        alone = sorted(result) == sorted([*batches, *rows, *columns])
        if not fits or not alone or len(summed) != 1 or len(rows) != 1 or len(columns) != 1:
            raise TypeError(f"the equation {equation!r} is no matrix product of one row, column and summed index")
        self.a_order = tuple(a.index(c) for c in [*batches, *rows, *summed])
        self.b_order = tuple(b.index(c) for c in [*batches, *summed, *columns])
        self.y_order = tuple([*batches, *rows, *columns].index(c) for c in result)
