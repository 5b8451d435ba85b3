"""A placed model computes in float what the costs say, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from graphs import Written
from hypothesis import given, settings
from hypothesis import strategies as st
from stub import StubCosts, image, placement_of, prepared
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import convert_fx, converting, explain, get_default_qconfig_mapping
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import ConfigError
from fxquant.graph.pipeline import run_stage
from fxquant.graph.verify import verify
from fxquant.placement import place, race

X = image(2, 4, 8, 8)


def convs(code: Any) -> Written:
    return Written(code, a=nn.Conv2d(4, 4, 3, padding=1), b=nn.Conv2d(4, 4, 1), head=nn.Linear(4, 3))


def mixed(m: Any, x: Tensor) -> Tensor:
    y = F.relu(m.a(x) + m.b(x))
    left, right = torch.chunk(F.silu(m.a(F.pad(y, (1, 0, 1, 0)))), 2, 1)
    z = torch.cat([F.max_pool2d(right, 2), F.avg_pool2d(left, 2)], 1)
    z = torch.softmax(z, 1) * torch.sigmoid(z)
    return m.head(z.mean((2, 3)))


def slow(*names: str) -> StubCosts:
    """Int8 pays for every unit but those that begin with an op of these names."""
    return StubCosts(lambda unit: (1, 1000) if unit.split("+")[0] not in names else (1000, 1))


def placed(model: nn.Module, costs: StubCosts, x: Tensor = X) -> GraphModule:
    return place(prepared(model, x), costs)


def test_one_small_op_is_not_worth_two_conversions() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    assert placement_of(placed(model, StubCosts(lambda _: (1, 5)), image(2, 4))) == {"linear": "float"}
    assert placement_of(placed(model, StubCosts(lambda _: (1, 7)), image(2, 4))) == {"linear": "int8"}


def test_a_small_gain_is_no_reason() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    assert placement_of(placed(model, StubCosts(lambda _: (1, 6.5)), image(2, 4))) == {"linear": "int8"}


def test_a_unit_flips_as_a_whole() -> None:
    model = convs(lambda m, x: F.relu(m.b(F.relu(m.a(x))) + x))
    assert placement_of(placed(model, slow())) == dict.fromkeys(("conv2d", "relu", "conv2d_1", "add", "relu_1"), "int8")
    costs = StubCosts(lambda unit: (100, 1) if unit == "conv2d+add+relu" else (1, 100))
    assert placement_of(placed(model, costs)) == {
        "conv2d": "int8",
        "relu": "int8",
        "conv2d_1": "float",
        "add": "float",
        "relu_1": "float",
    }


def test_a_value_that_float_reads_twice_is_dequantized_once() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return torch.softmax(y, 1) + torch.cumsum(y, 1)

    costs = StubCosts(lambda unit: (1, 7) if unit == "conv2d" else (50, 1))
    assert placement_of(placed(convs(code), costs))["conv2d"] == "int8"


def test_an_input_that_two_int8_ops_read_is_quantized_once() -> None:
    costs = StubCosts(lambda unit: (1, 4) if unit == "conv2d" else (50, 1), dequantize_us=1)
    model = convs(lambda m, x: (m.a(x), m.b(x)))
    assert placement_of(placed(model, costs)) == {"conv2d": "int8", "conv2d_1": "int8"}


def test_asking_for_a_shape_needs_no_conversion() -> None:
    model = convs(lambda m, x: m.b(m.a(x)).size(2))
    costs = StubCosts(lambda _: (1, 3), dequantize_us=100)
    assert set(placement_of(placed(model, costs)).values()) == {"int8"}


def test_a_parameter_needs_no_conversion() -> None:
    model = convs(lambda m, x: m.a(x) + m.offset)
    model.register_parameter("offset", nn.Parameter(torch.rand_like(model.a(X)[0])))
    costs = StubCosts(lambda _: (1, 6), quantize_us=7, dequantize_us=1)
    assert set(placement_of(placed(model, costs)).values()) == {"int8"}


def test_what_is_not_known_beforehand_stays_in_int8() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    assert placement_of(placed(model, StubCosts(lambda _: None), image(2, 4))) == {"linear": "int8"}


def test_what_the_mapping_keeps_in_float_stays_there_with_its_reason() -> None:
    mapping = get_default_qconfig_mapping().set_module_name("b", None)
    gm = place(prepared(convs(lambda m, x: m.b(m.a(x))), X, mapping), StubCosts(lambda _: (0, 1000)))
    assert placement_of(gm) == {"conv2d": "int8", "conv2d_1": "float"}
    (row,) = explain(convert_fx(gm)).float_rows
    assert row.reason == "its qconfig is None, by set_module_name('b', None)"
    assert row.int8_us is None


def test_everything_in_float_computes_what_the_model_computes() -> None:
    model = convs(mixed)
    quantized = convert_fx(placed(model, StubCosts(lambda _: (1000, 1))))
    assert {row.precision for row in explain(quantized).rows} == {"float"}
    torch.testing.assert_close(quantized(X), model(X))
    assert {name for name in quantized.state_dict() if "observer" in name or "post_process" in name} == set()


@pytest.fixture(scope="module")
def mixed_and_prepared() -> tuple[nn.Module, GraphModule]:
    torch.manual_seed(0)
    model = convs(mixed)
    return model, prepared(model, X)


@pytest.mark.slow
@given(st.lists(st.booleans(), min_size=16, max_size=16))
@settings(max_examples=10, deadline=None)
def test_every_mixture_runs_and_is_close_to_float(
    mixed_and_prepared: tuple[nn.Module, GraphModule], int8: list[bool]
) -> None:
    model, gm = mixed_and_prepared
    chosen = iter(int8)
    costs = StubCosts(lambda _: (0, 1000) if next(chosen) else (1000, 0), 0.0, 0.0)
    gm = place(copy.deepcopy(gm), costs)
    for stage in ("convert", "fold", "lower", "plan"):
        gm = run_stage(gm, stage)
        verify(gm, stage)
    assert sqnr_db(model(X), gm(X)) > 20


def test_explain_shows_both_estimates_and_the_reason() -> None:
    model = convs(lambda m, x: F.avg_pool2d(m.b(F.relu(m.a(x))), 2))
    costs = StubCosts(lambda unit: (50, 2) if unit == "avg_pool2d" else (4, 40), 3, 2)
    explanation = explain(convert_fx(placed(model, costs)))
    assert [(row.op, row.precision, row.int8_us, row.float_us) for row in explanation.rows] == [
        ("Quantize", "boundary", pytest.approx(3), None),
        ("Int8Conv2d", "int8", pytest.approx(4), pytest.approx(40)),
        ("Int8Conv2d", "int8", pytest.approx(4), pytest.approx(40)),
        ("avg_pool2d", "float", pytest.approx(50), pytest.approx(2)),
    ]
    (row,) = explanation.float_rows
    assert row.reason == "float is faster here: 4.0 us against 52.0 us, conversions included"
    header, first = (str(explanation).splitlines()[line].replace("│", "┃") for line in (1, 3))
    assert [cell.strip() for cell in header.split("┃")[-3:-1]] == ["int8 us", "float us"]
    assert [cell.strip() for cell in first.split("┃")[-3:-1]] == ["3.0", ""]


def test_an_estimate_stands_once_where_a_unit_became_several_nodes() -> None:
    model = Written(lambda m, x: m.a(x), a=nn.Conv1d(4, 4, 1))
    rows = explain(convert_fx(placed(model, StubCosts(lambda _: (4, 40)), image(2, 4, 8)))).rows
    estimates = {row.op: row.float_us for row in rows if row.precision == "int8"}
    assert estimates == {"unsqueeze": None, "Int8Conv2d": pytest.approx(40), "squeeze": None}


def test_regions_that_share_no_value_have_reasons_of_their_own() -> None:
    model = convs(lambda m, x: F.avg_pool2d(m.b(F.avg_pool2d(m.a(x), 2)), 2))
    rows = explain(convert_fx(placed(model, slow("avg_pool2d")))).float_rows
    assert [row.reason.split(":")[1].split(",")[0] for row in rows] == [
        " 7.0 us against 1000.0 us",  # conversions on both sides
        " 4.0 us against 1003.0 us",  # on one, either way
    ]


def test_the_default_is_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    gm = prepared(convs(mixed), X)
    default, configured = convert_fx(gm), convert_fx(gm, placement="configured")
    assert str(explain(default)) == str(explain(configured))
    assert all(row.int8_us is None and row.float_us is None for row in explain(default).rows)
    assert "int8 us" not in str(explain(default))
    assert torch.equal(default(X), configured(X))


def test_fastest_places_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "MeasuredCosts", lambda: slow("max_pool2d"))
    monkeypatch.setattr(race, "least_seconds", lambda calls: (1.0, 2.0))
    gm = prepared(convs(mixed), X)
    before = str(gm.graph), placement_of(gm), copy.deepcopy(gm.state_dict())
    quantized = convert_fx(gm, placement="fastest")
    assert [row.op for row in explain(quantized).float_rows] == ["max_pool2d"]
    assert (str(gm.graph), placement_of(gm)) == before[:2]
    assert all(torch.equal(tensor, gm.state_dict()[name]) for name, tensor in before[2].items())


def test_another_placement_is_refused() -> None:
    with pytest.raises(ConfigError, match="placement='quickest' is none of 'configured', 'fastest'"):
        convert_fx(prepared(convs(mixed), X), placement="quickest")
