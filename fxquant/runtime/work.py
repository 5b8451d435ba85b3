"""How much there is to do."""

from __future__ import annotations

from torch import Tensor


def multiply_adds(weight: Tensor, image: Tensor) -> int:
    """Of a convolution or a linear layer: every element of its output is a sum over weight[0], of any shape.

    In a transposed convolution every element of its input is multiplied by weight[0]: `image` is the input there.
    """
    return image.numel() * weight[0].numel()


def product_multiply_adds(a: Tensor, y: Tensor) -> int:
    """Of the matrix product y = a @ b."""
    return y.numel() * a.shape[-1]


def attention_multiply_adds(y: Tensor, query: Tensor, key: Tensor, *others: Tensor) -> int:
    """Of attention that gives y."""
    return key.shape[-2] * (query.numel() + y.numel())
