"""Comparisons, and the logic of what they give, stay as they are: true and false have no scale."""

from __future__ import annotations

import operator
from typing import Any

import torch

from fxquant.ops.op import spelling

_NAMES = ("eq", "ne", "lt", "le", "gt", "ge")
_ALSO = ("equal", "isclose", "greater", "greater_equal", "less", "less_equal", "not_equal")


@spelling(
    *(getattr(owner, name) for owner in (operator, torch) for name in _NAMES),
    *(getattr(torch, name) for name in _ALSO),
    *(*_NAMES, *_ALSO, *(f"__{name}__" for name in _NAMES)),
)
def _compare(*_: Any, **__: Any) -> Any:
    raise TypeError("it compares, and an answer of true or false has no scale")
