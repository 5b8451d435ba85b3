"""What folds into one kernel is one unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from stub import image, prepared
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import get_default_qconfig_mapping
from fxquant.placement.units import units_of


def residual(m: Any, x: Tensor) -> Tensor:
    return F.relu(m.a(x) + m.b(x))


def table(m: Any, x: Tensor) -> Tensor:
    return F.silu(m.a(x))


def table_read_beside(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return F.silu(y) + y


def padded(m: Any, x: Tensor) -> Tensor:
    return m.a(F.pad(m.b(x), (1, 1)))


def pieces(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.chunk(m.a(x), 2, 1)
    return F.max_pool2d(a, 2), b


def moved(m: Any, x: Tensor) -> Tensor:
    a, b = torch.chunk(m.a(x).flatten(2).permute(0, 2, 1), 2, 1)
    return torch.cat([a.unsqueeze(1), b.unsqueeze(1)], 1)


def apart(m: Any, x: Tensor) -> Tensor:
    return F.max_pool2d(m.b(m.a(x)), 2).flatten(1)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (residual, ["conv2d", "conv2d_1 add relu"]),
        (table, ["conv2d silu"]),
        (table_read_beside, ["conv2d", "silu", "add"]),
        (padded, ["conv2d", "pad conv2d_1"]),
        (pieces, ["conv2d", "chunk getitem getitem_1", "max_pool2d"]),
        (moved, ["conv2d", "flatten permute chunk getitem getitem_1 unsqueeze unsqueeze_1 cat"]),
        (apart, ["conv2d", "conv2d_1", "max_pool2d", "flatten"]),
    ],
)
def test_units(code: Any, expected: list[str]) -> None:
    gm = prepared(Written(code, a=nn.Conv2d(4, 4, 1), b=nn.Conv2d(4, 4, 1)), image(2, 4, 6, 6))
    assert [" ".join(node.name for node in unit) for unit in units_of(gm)] == expected


def test_what_is_float_is_in_no_unit() -> None:
    mapping = get_default_qconfig_mapping().set_module_name("a", None)
    gm = prepared(Written(apart, a=nn.Conv2d(4, 4, 1), b=nn.Conv2d(4, 4, 1)), image(2, 4, 6, 6), mapping)
    assert [node.name for unit in units_of(gm) for node in unit] == ["conv2d_1", "max_pool2d", "flatten"]
