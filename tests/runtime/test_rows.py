"""Calls that compute row by row become one step, and layers quantize what they share once: the same bits."""

from __future__ import annotations

import pytest
import torch
from regions import assert_planned_right, plan_of, quantized
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import QConfigMapping
from fxquant.qconfig import default_dynamic_qconfig, per_channel_dynamic_qconfig
from fxquant.runtime.call import Call

DYNAMIC = QConfigMapping().set_global(per_channel_dynamic_qconfig)


class Block(nn.Module):
    """What surrounds the products of an encoder."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.up, self.down, self.norm = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.norm(x + y)
        x = x + self.q(x) + self.k(x) + self.v(x)
        z: Tensor = self.norm(x + self.down(F.gelu(self.up(x))))
        return z


class Overwritten(nn.Module):
    """gelu may write over what it reads, but for a layer that reads it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(24, 24) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.a(x) + y
        z: Tensor = self.b(x) + self.c(F.gelu(x))
        return z


def calls_of(model: nn.Module, *x: Tensor) -> list[Call]:
    gm = quantized(model, *x, mapping=DYNAMIC)
    assert_planned_right(gm, x)
    return list(plan_of(gm, *x).calls)


@pytest.mark.parametrize("shape", [(1, 24), (5, 24), (3, 41, 24)], ids=str)
def test_row_by_row(shape: tuple[int, ...]) -> None:
    calls = calls_of(Block(), torch.randn(shape), torch.randn(shape))
    steps = [[each.kernel for each in call.joined or (call,)] for call in calls]
    assert steps == [
        ["float_add", "float_layer_norm", "dynamic_rows"],  # for q, k and v
        ["dynamic_product"],
        ["float_add"],
        ["dynamic_product"],
        ["float_add"],
        ["dynamic_product"],
        ["float_add", "dynamic_rows"],
        ["dynamic_product"],
        ["float_gelu", "dynamic_rows"],
        ["dynamic_product"],
        ["float_add", "float_layer_norm"],
    ]


def test_rows_that_are_broadcast_stay_apart() -> None:
    calls = calls_of(Block(), torch.randn(4, 3, 24), torch.randn(1, 24))
    assert [each.kernel for each in calls[0].joined] == ["float_add", "float_layer_norm", "dynamic_rows"]


def test_a_value_that_is_wanted_later_is_kept() -> None:
    calls_of(Overwritten(), torch.randn(33, 24), torch.randn(33, 24))


def test_one_scale_for_all_rows() -> None:
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    gm = quantized(Block(), torch.randn(5, 24), torch.randn(5, 24), mapping=mapping)
    assert_planned_right(gm, (torch.randn(5, 24), torch.randn(5, 24)))
