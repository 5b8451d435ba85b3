"""Which layers cost accuracy: what each costs alone in int8, and what is won with it in float."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from torch import nn

from fxquant.analysis.judge import Metric, Trial, trial_of
from fxquant.analysis.layers import Layer, layers_of, left_float, with_int8_only
from fxquant.analysis.printed import printed
from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.qconfig_mapping import QConfigMapping
from fxquant.quantize_fx import convert_fx

HOW = ("float", "alone", "both")


@dataclass(frozen=True)
class SensitivityRow:
    """`alone`: the metric with only this layer in int8. `float`: with only this layer in float; of the first rows, with
    the rows above in float, too. None where it was not asked for.
    """

    layer: Layer
    alone: float | None
    float: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for pandas or JSON."""
        layer = self.layer
        return {
            "layer": layer.name,
            "op": layer.op,
            "source": layer.source,
            "alone": self.alone,
            "float": self.float,
        }


@dataclass(frozen=True)
class Sensitivity:
    """The layers, the worst one first, and the metric of the whole model in int8. Printing it prints a table."""

    rows: tuple[SensitivityRow, ...]
    int8: float
    mapping: QConfigMapping

    def worst(self, n: int = 5) -> tuple[SensitivityRow, ...]:
        """The first `n` rows."""
        return self.rows[:n]

    def left_float(self, n: int) -> QConfigMapping:
        """The mapping of the model with the `n` worst layers in float; convert_fx takes it without calibrating anew."""
        return left_float(self.mapping, [row.layer for row in self.worst(n)])

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows as plain dicts: pandas.DataFrame(result.to_dict())."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        table = Table("layer", "op", "source")
        for heading in ("alone in int8", "alone in float", "won"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            won = None if row.float is None else row.float - self.int8
            numbers = map(_number, (row.alone, row.float, won))
            table.add_row(*map(Text, (row.layer.name, row.layer.op, row.layer.source, *numbers)))
        return f"{printed(table, width=140)}all in int8: {_number(self.int8)}"


@typed
def sensitivity(
    model: nn.Module,
    data: Iterable[Any],
    metric: Metric | str = "sqnr",
    *,
    how: str = "float",
    depth: int | None = None,
    together: int = 2,
    qconfig_mapping: Any = None,
    prepared: nn.Module | None = None,
    progress: bool = True,
) -> Sensitivity:
    """Ranks the layers of the float `model` by what their int8 costs.

    `data`: batches as for calibrate, which are kept. They calibrate the model, unless a calibrated one is `prepared`.
    `metric`: "sqnr" of the outputs in dB, "agreement" of the largest output's place, or a function of a model and the
    batches that returns a number, the larger the better: labels may be in the batches, behind the model's arguments.
    `how`: "float" converts once for each layer with that layer in float, "alone" with it alone in int8, "both" does
    both. `depth`: judges modules at most that deep instead of layers, as 2 does features.1. `together`: neighbours in
    float hand on values that nothing rounds, so as many of the first layers are found one after the other, each with
    those before it in float; each costs a round. The model is calibrated once; conversions are real ones.

    Raises ConfigError and InputError for arguments that make no sense.
    """
    if how not in HOW:
        raise ConfigError(f"how={how!r} is none of {', '.join(map(repr, HOW))}")
    if together < 1 or (depth is not None and depth < 1):
        raise ConfigError("together and depth must be at least 1")
    trial = trial_of(model, data, metric, prepared, qconfig_mapping)
    layers = layers_of(trial.prepared, depth)
    together = min(together, len(layers))
    rounds = (0 if how == "alone" else together) + (0 if how == "float" else 1)
    console = Console(stderr=True)
    with Progress(console=console, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("judging layers", total=rounds * len(layers))

        def done() -> None:
            bar.advance(task)

        alone = {} if how == "float" else _alone(trial, layers, depth, done)
        in_float = {} if how == "alone" else _in_float(trial, layers, together, done)
    by_name = {layer.name: layer for layer in layers}
    order = list(in_float) or sorted(alone, key=lambda name: _rank(alone[name]))
    rows = (SensitivityRow(by_name[name], alone.get(name), in_float.get(name)) for name in order)
    return Sensitivity(tuple(rows), trial.judge(trial.converted()), trial.mapping)


def _alone(trial: Trial, layers: list[Layer], depth: int | None, done: Callable[[], None]) -> dict[str, float]:
    found = {}
    for layer in layers:
        found[layer.name] = trial.judge(convert_fx(with_int8_only(trial.prepared, [layer.name], depth)))
        done()
    return found


def _in_float(trial: Trial, layers: list[Layer], together: int, done: Callable[[], None]) -> dict[str, float]:
    """By layer, the best one first; NaN, as of a model that overflows, comes last."""
    first: dict[str, float] = {}
    values: dict[str, float] = {}
    alone: dict[str, float] = {}
    for _ in range(together):
        chosen = [layer for layer in layers if layer.name in first]
        values = {}
        for layer in layers:
            if layer.name not in first:
                values[layer.name] = trial.judge(trial.converted(left_float(trial.mapping, [*chosen, layer])))
            done()
        alone = alone or values
        best = max(values, key=lambda name: _rank(values[name]))
        first[best] = values[best]
    others = sorted(values.keys() - first.keys(), key=lambda name: (-_rank(alone[name]), name))
    return first | {name: alone[name] for name in others}


def _rank(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "exact" if value == math.inf else f"{value:.3f}"
