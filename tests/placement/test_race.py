"""What was placed wins only if it is faster than what was configured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from graphs import Written
from stub import StubCosts, image, prepared
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant import converting, explain, quantize_fx
from fxquant.placement import fastest, race

X = image(2, 4)
finish = converting.finished_part


def linear(x: Tensor = X) -> GraphModule:
    return prepared(nn.Sequential(nn.Linear(4, 4)).eval(), x)


FLOAT_PAYS, INT8_PAYS = StubCosts(lambda _: (9, 1)), StubCosts(lambda _: (1, 99))


def runs(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> list[int]:
    """Lets the race end with these times; the list grows by the number of models in each race."""
    races: list[int] = []

    def race_of(calls: Sequence[Callable[[], Any]]) -> list[float]:
        races.append(len(calls))
        assert all(call().shape == (2, 4) for call in calls)
        return list(seconds)

    monkeypatch.setattr(race, "least_seconds", race_of)
    return races


@pytest.mark.parametrize(("seconds", "float_rows"), [((1.0, 2.0), 1), ((2.0, 1.0), 0)])
def test_the_faster_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], float_rows: int
) -> None:
    races = runs(monkeypatch, *seconds)
    explanation = explain(fastest(linear(), FLOAT_PAYS, finish))
    assert races == [2]
    assert len(explanation.float_rows) == float_rows
    assert any(row.float_us == pytest.approx(1) for row in explanation.rows)


def test_without_a_difference_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    races = runs(monkeypatch)
    assert explain(fastest(linear(), INT8_PAYS, finish)).float_rows == ()
    assert races == []


@pytest.mark.parametrize(("seconds", "in_float"), [((1.0, 2.0), True), ((2.0, 1.0), False)])
def test_indices_run_too(monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], in_float: bool) -> None:
    races = runs(monkeypatch, *seconds)
    model = Written(lambda m, i: m.head(m.rows(i)), rows=nn.Embedding(5, 4), head=nn.Linear(4, 4))
    explanation = explain(fastest(prepared(model, torch.tensor([1, 3])), FLOAT_PAYS, finish))
    assert races == [2]
    assert ("linear" in [row.op for row in explanation.float_rows]) is in_float


def test_a_model_that_does_not_take_the_numbers_is_left_to_the_estimates() -> None:
    class Dividing(Optional):
        def forward(self, x: Tensor, i: Tensor) -> Tensor:  # type: ignore[override]
            y: Tensor = self.layer(x) + 8 // i
            return y

    placed = fastest(prepared(Dividing(), (X, torch.tensor([1]))), FLOAT_PAYS, finish)
    assert "linear" in [row.op for row in explain(placed).float_rows]


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None, halve: bool = False) -> Tensor:
        y: Tensor = self.layer(x if mask is None else x * mask)
        return y / 2 if halve else y


def test_options_go_into_the_race_as_they_were_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    races = runs(monkeypatch, 1.0, 2.0)
    explanation = explain(fastest(prepared(Optional(), (X, None, True)), FLOAT_PAYS, finish))
    assert races == [2]
    assert "linear" in [row.op for row in explanation.float_rows]


def test_each_graph_within_code_that_runs_as_python_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    races = runs(monkeypatch, 1.0, 2.0)
    monkeypatch.setattr(converting, "MeasuredCosts", lambda: FLOAT_PAYS)

    class Branching(Optional):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            y: Tensor = self.layer(x)
            return y if y.sum() > 0 else -y

    model = Branching().eval()
    placed = quantize_fx.convert_fx(prepared(model, X), placement="fastest")
    assert type(placed) is Branching
    assert races == [2]
    assert torch.equal(placed(X), model(X))
