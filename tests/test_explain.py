"""What explain says of each node: int8 or float, what it absorbed, and why it stayed float."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import QConfigMapping, calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.analysis.explain import Explanation, Row
from fxquant.errors import ConfigError

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def explained(model: nn.Module, mapping: QConfigMapping | None = None) -> Explanation:
    prepared = prepare_fx(model, mapping or get_default_qconfig_mapping(), (X,))
    return explain(convert_fx(calibrate(prepared, [X], progress=False)))


def net() -> Written:
    def code(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.body(x) + m.short(x))
        y = torch.cumsum(torch.tanh(torch.cumsum(y, 1)), 1)
        return m.head(y.mean((2, 3)))

    body = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    return Written(code, body=body, short=nn.Conv2d(3, 4, 1), head=nn.Linear(4, 2))


def test_every_node_is_listed_in_running_order() -> None:
    rows = explained(net()).rows
    assert [(row.op, row.precision, row.place) for row in rows] == [
        ("Quantize", "boundary", ""),
        ("Int8Conv2d", "int8", "body.0"),
        ("Int8Conv2d", "int8", "short"),
        ("Dequantize", "boundary", ""),
        ("cumsum", "float", ""),
        ("tanh", "float", ""),
        ("cumsum", "float", ""),
        ("Quantize", "boundary", ""),
        ("Int8AdaptiveAvgPool2d", "int8", ""),
        ("flatten", "int8", ""),
        ("Int8Linear", "int8", "head"),
    ]


def test_a_row_names_what_it_absorbed() -> None:
    absorbed = {row.place: row.absorbed for row in explained(net()).rows if row.precision == "int8" and row.place}
    assert absorbed == {"body.0": ("BatchNorm2d",), "short": ("add", "F.relu"), "head": ()}


def test_a_float_row_has_its_reason_and_no_other_row_has_one() -> None:
    explanation = explained(net())
    assert [(row.op, row.reason) for row in explanation.float_rows] == [
        ("cumsum", "cumsum is not in the op table"),
        ("tanh", "neither its inputs nor all of its users run in int8"),
        ("cumsum", "cumsum is not in the op table"),
    ]
    assert not any(row.reason for row in explanation.rows if row.precision != "float")


def test_the_setting_that_kept_an_op_float_is_named() -> None:
    mapping = get_default_qconfig_mapping().set_module_name("head", None)
    (reason,) = (row.reason for row in explained(net(), mapping).float_rows if row.place == "head")
    assert reason == "its qconfig is None, by set_module_name('head', None)"


def test_nothing_in_int8_leaves_no_boundary() -> None:
    explanation = explain(convert_fx(prepare_fx(net(), QConfigMapping(), (X,))))
    assert {row.precision for row in explanation.rows} == {"float"}
    assert str(explanation).endswith("0 int8, 9 float, 0 at the boundary")


def test_moved_integers_are_integers() -> None:
    rows = explained(Written(lambda m, x: m.conv(x).flatten(2).permute(0, 2, 1), conv=nn.Conv2d(3, 4, 1))).rows
    assert [(row.op, row.precision) for row in rows if row.precision != "boundary"] == [
        ("Int8Conv2d", "int8"),
        ("flatten", "int8"),
        ("permute", "int8"),
    ]


def test_it_prints_as_a_table_with_a_sum() -> None:
    first = Row("conv", "Int8Conv2d", "int8", "body.0", ("F.relu", "add"))
    lines = str(Explanation((first, Row("x", "y", "float", "z", (), "because")))).splitlines()
    cells = [[cell.strip() for cell in line.strip("┃│").replace("│", "┃").split("┃")] for line in lines]
    assert cells[1] == ["node", "op", "precision", "in your model", "absorbed", "reason"]
    assert cells[3] == ["conv", "Int8Conv2d", "int8", "body.0", "F.relu, add", ""]
    assert cells[4] == ["x", "y", "float", "z", "", "because"]
    assert lines[-1] == "1 int8, 1 float, 0 at the boundary"


@pytest.mark.parametrize("other", [nn.Linear(2, 2), None, prepare_fx(nn.ReLU().eval(), QConfigMapping(), (X,))])
def test_other_models_have_no_explanation(other: Any) -> None:
    with pytest.raises(ConfigError, match="what convert_fx returned"):
        explain(other)


def computed_size(m: Any, x: Tensor) -> Tensor:
    return F.avg_pool2d(m.conv(x), (x.size(2), x.size(3)))


def computed_stride(m: Any, x: Tensor) -> Tensor:
    return F.avg_pool2d(m.conv(x), 2, x.size(2) // 4)


def computed_slope(m: Any, x: Tensor) -> Tensor:
    return F.prelu(m.conv(x), m.slope.abs())


def pieces_together(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    return torch.chunk(m.conv(x), 2, 1)


def pieces_apart(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.chunk(torch.exp(m.conv(x)), 2, 1)
    return m.piece(a), torch.softmax(b, 1)


def vector_weight(m: Any, x: Tensor) -> Tensor:
    return F.linear(m.conv(x).mean((2, 3)), m.slope)


MUST_BE_CONSTANT = "is computed while the model runs; it must be a constant"


@pytest.mark.parametrize(
    ("code", "op", "reason"),
    [
        (computed_size, "avg_pool2d", f"its kernel_size {MUST_BE_CONSTANT}"),
        (computed_stride, "avg_pool2d", f"one of its arguments {MUST_BE_CONSTANT}"),
        (computed_slope, "prelu", f"its weight {MUST_BE_CONSTANT}"),
        (pieces_together, "chunk", "its tensors are read together, not one by one"),
        (pieces_apart, "getitem", "it is a part of what stays float"),
        (vector_weight, "linear", "its weight is not a matrix"),
    ],
)
def test_an_op_without_an_integer_form_stays_float_with_its_reason(code: Any, op: str, reason: str) -> None:
    model = Written(code, conv=nn.Conv2d(3, 4, 1), piece=nn.Conv2d(2, 2, 1))
    model.register_parameter("slope", nn.Parameter(torch.rand(4)))
    rows = explained(model.eval()).float_rows
    assert reason in [row.reason for row in rows if row.op == op]
    assert all(row.reason for row in rows)


def test_what_moves_a_constant_is_int8() -> None:
    model = Written(lambda m, x: m.conv(x) + m.bias[:, None, None], conv=nn.Conv2d(3, 4, 1))
    model.register_parameter("bias", nn.Parameter(torch.rand(4)))
    assert explained(model).float_rows == ()


def test_a_table_is_text_in_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = explained(net())
    expected = str(explanation)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(explanation) == expected
    assert "Int8Conv2d" in expected
