"""The kernel of dynamic attention computes what its op does, near to attention of floats, on every thread count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.attention import attention
from fxquant.ops.integer.attention import dynamic_attention


def operands(queries: int, keys: int, mask: torch.dtype | None) -> tuple[list[Tensor], Tensor | None]:
    sizes = ((queries, 16), (keys, 16), (keys, 5))
    heads = [torch.randn(2, 3, *size) * torch.tensor([0.1, 0.5, 1.0])[:, None, None] for size in sizes]
    added = None if mask is None else torch.randn(2, 1, queries, keys)
    if added is not None and mask is torch.bool:
        added = added > -0.5
        added[..., 0] = True
    return heads, added


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, torch.float32, torch.bool])
@pytest.mark.parametrize(("queries", "keys"), [(9, 33), (1, 1), (33, 9), (64, 64)])
def test_attention(causal: bool, mask: torch.dtype | None, queries: int, keys: int) -> None:
    heads, added = operands(queries, keys, mask)
    found = kernels.dynamic_attention(*heads, added, causal, 0.25)
    torch.testing.assert_close(found, dynamic_attention(*heads, causal, 0.25, added), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, attention(*heads, added, causal, 0.25), rtol=0, atol=0.05)
    apart = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in heads]
    assert torch.equal(kernels.dynamic_attention(*apart, added, causal, 0.25), found)


def test_a_query_without_keys_is_0() -> None:
    x = torch.randn(2, 4, 8)
    found = kernels.dynamic_attention(x, x, x, torch.zeros(4, 4, dtype=torch.bool), False, 1.0)
    assert torch.equal(found, torch.zeros(2, 4, 8))


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_nan_stays_in_its_head(odd: float) -> None:
    (q, k, v), _ = operands(5, 7, None)
    k[0, 1, 2, 3] = odd
    v[1, 0, 3, 2] = odd
    found = kernels.dynamic_attention(q, k, v, None, False, 1.0)
    expected = torch.zeros(2, 3, 5, 5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0, :, 2] = True
    assert torch.equal(found.isnan(), expected)
    assert torch.equal(dynamic_attention(q, k, v, False, 1.0).isnan(), expected)


def test_what_does_not_fit() -> None:
    x = torch.randn(4, 8)
    with pytest.raises(InputError):
        kernels.dynamic_attention(x, x[:, :3], x, None, False, 1.0)
    with pytest.raises(InputError):
        kernels.dynamic_attention(x.half(), x, x, None, False, 1.0)
