"""What comes from outside as the constants of a layer is checked against its integer op and its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fxquant import ops
from fxquant.errors import InputError
from fxquant.ops.op import OPS
from fxquant.qparams import QParams, Requantize, Residual
from fxquant.runtime.constants import check_constants, check_names, fits


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (True, bool, True),
        (1, float, False),
        (None, int | None, True),
        ((1, 2), tuple[int, int], True),
        ((1,), tuple[int, int], False),
        ([1, 2], tuple[int, int], False),
        ((1, 2, 3), tuple[int, ...], True),
        ((1, 2.0), tuple[int, ...], False),
        ([1, 2], Sequence[int], True),
        ("12", Sequence[int], False),
        (torch.zeros(1), Tensor, True),
        (torch.zeros(1), float | Tensor, True),
        (Requantize(1), Requantize, True),
        (Requantize(1.0), Requantize, False),  # type: ignore[arg-type]
        (Requantize(1), Residual, False),
        ("x", Any, True),
    ],
)
def test_values_fit_hints(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


@pytest.mark.parametrize(
    ("op", "constants", "message"),
    [
        (ops.int8_linear, {"output": Requantize(0, 9, 8)}, "quant_min = 9 is above quant_max = 8"),
        (ops.int8_linear, {"output": Requantize(256)}, "zero_point must be in 0..255"),
        (ops.int8_linear, {"residual_params": Residual(0, float("inf"))}, "multiplier cannot be inf"),
        (ops.int8_linear, {"table": torch.zeros(255, dtype=torch.uint8)}, "a table is of shape"),
        (ops.int8_linear, {"weight": torch.zeros(2, 2)}, "weight must be a dense torch.int8"),
        (ops.int8_linear, {"bias": None}, "bias cannot be None"),
        (ops.quantize, {"q": QParams(0.0, 3)}, "scale cannot be 0.0"),
        (ops.quantize, {"q": QParams(float("nan"), 3)}, "scale cannot be nan"),
        (ops.int8_pad, {"value_code": -1}, "value_code must be in 0..255"),
    ],
)
def test_wrong_constants_are_named(op: Any, constants: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_constants(OPS[op].body, constants)


def test_names_are_those_of_the_op_and_of_its_fields() -> None:
    check_names({"weight", "output_zero_point"}, ["weight", "output"])
    with pytest.raises(InputError, match="table is no constant"):
        check_names({"table"}, ["weight", "output"])
