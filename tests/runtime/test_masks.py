"""masked_fill and where within a region: masks of any shape, examples that a mask keeps apart or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from regions import assert_planned_right, quantized, region_of
from torch import Tensor, nn

from fxquant.errors import InputError
from fxquant.runtime import batches

X = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))


def fill(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    y: Tensor = m.b(m.a(x).masked_fill(mask, 0.25))
    return y


def choose(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    y = m.a(x)
    z: Tensor = m.b(torch.where(mask, y * 0.5, y.flip(3)))
    return z


class Masked(nn.Module):
    """forward is `code(self, x, mask)`, between two convolutions."""

    def __init__(self, code: Callable[..., Any]) -> None:
        super().__init__()
        self.code = code
        self.a, self.b = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return self.code(self, x, mask)


@pytest.mark.parametrize("code", [fill, choose])
@pytest.mark.parametrize("shape", [(2, 6, 4, 4), (2, 1, 1, 4), (6, 4, 1), (4,), (), (1, 6, 1, 1)], ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_masks_of_any_shape(code: Callable[..., Any], shape: tuple[int, ...], last: bool) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    x = X.to(memory_format=torch.channels_last) if last else X
    gm = quantized(Masked(code), x, mask)
    region_of(gm)
    assert_planned_right(gm, (x, mask))
    other = torch.randn(3, 6, 4, 4), mask[:1].expand(3, *shape[1:]) if shape[:1] == (2,) else mask
    assert_planned_right(gm, other)


def test_both_sides_broadcast() -> None:
    def code(m: Any, x: Tensor, mask: Tensor) -> Tensor:
        y = m.a(x)
        z: Tensor = m.b(torch.where(mask, y[:, :, :1], y[:, :1]))
        return z

    gm = quantized(Masked(code), X, X > 0)
    region_of(gm)
    assert_planned_right(gm, (X, X > 0))


def test_a_mask_that_does_not_fit_names_the_place() -> None:
    gm = quantized(Masked(fill), X, X > 0)
    for mask in (torch.ones(5, dtype=torch.bool), torch.ones(1, 2, 6, 4, 4, dtype=torch.bool)):
        with pytest.raises((InputError, RuntimeError)):
            gm(X, mask)


# The mask of one example for all of them; one for each; and one whose first dimension is no example's, though it has
# as many.
@pytest.mark.parametrize(("shape", "parts"), [((1, 6, 4, 4), 4), ((4, 1, 4, 4), 4), ((4, 1), 1)], ids=str)
def test_batches_in_parts(shape: tuple[int, ...], parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CACHES", 1e-6)
    generator = torch.Generator().manual_seed(2)
    x, mask = torch.randn(4, 6, 4, 4, generator=generator), torch.rand(shape, generator=generator) < 0.5
    gm = quantized(Masked(fill), x, mask)
    assert region_of(gm).plan(x, mask).parts == parts
    assert_planned_right(gm, (x, mask))
