"""Which layers to take out of int8 for a target, found by search; each step judges a real conversion.

bisect    for the shortest beginning of the ranking which meets the target in float
prune     give back to int8, from the last one, each layer without which the target is still met
widen     give the others, from the last one, a QConfig between int8 and float, where that is enough

What meets the target on the data at hand, just so, meets it on others in one case of two. So as many other examples
must be expected to meet it (see `margin`), unless the metric is the user's, whose chances are not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from fxquant.analysis.judge import Trial
from fxquant.analysis.layers import Layer, left_float, runs_in_float, with_qconfig
from fxquant.analysis.margin import examples_for
from fxquant.errors import TargetError
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import QConfigMapping
from fxquant.quantize_fx import convert_fx


@dataclass(frozen=True)
class Goal:
    """The metric to be reached: with the `confidence` asked for on other examples, where that is known."""

    trial: Trial
    needed: float
    confidence: float

    def expected(self, model: nn.Module) -> float | None:
        """What other examples have at least; None where that is not known or not asked for."""
        return self.trial.judge.expected_on_others(model, self.confidence) if self.confidence else None

    def value(self, model: nn.Module) -> float:
        """What is held against `needed`."""
        expected = self.expected(model)
        return self.trial.judge(model) if expected is None else expected

    def met_by(self, model: nn.Module) -> bool:
        """Whether `model` reaches it."""
        return self.value(model) >= self.needed

    def check(self) -> None:
        """Raises TargetError if the examples are too few to show it even of a model without any error."""
        judge = self.trial.judge
        if not self.confidence or callable(judge.metric):
            return
        if judge.metric == "sqnr":
            few, more = judge.answers < 2, "give 2 or more, better dozens"
        else:
            few = self.value(judge.model) < self.needed
            enough = examples_for(self.needed, self.confidence) if few else None
            more = "no number is enough to show that" if enough is None else f"give {enough} or more"
        if few:
            raise TargetError(
                f"{judge.answers} examples are too few to expect {self.needed:.4g} of others with a confidence of "
                f"{self.confidence:.0%}, even if all agree: {more}, or confidence=0 to meet the target on these"
            )


def fewest_in_float(goal: Goal, ranked: list[Layer], most: int | None) -> list[Layer]:
    """The layers to leave float, `most` of them at most. Raises TargetError if that does not meet the goal."""
    trial = goal.trial

    def converted(layers: list[Layer]) -> nn.Module:
        return trial.converted(left_float(trial.mapping, layers))

    if goal.met_by(converted([])):
        return []
    allowed = len(ranked) if most is None else min(most, len(ranked))
    count = _least(allowed, lambda n: goal.met_by(converted(ranked[:n])))
    if count is None:
        best = goal.value(converted(ranked[:allowed]))
        raise TargetError(
            f"the target {goal.needed:.4g} cannot be met: with {allowed} of {len(ranked)} layers in float it is "
            f"{best:.4g}"
        )
    chosen = ranked[:count]
    for layer in reversed(chosen[:-1]):
        fewer = [other for other in chosen if other is not layer]
        chosen = fewer if goal.met_by(converted(fewer)) else chosen
    return chosen


def widened(goal: Goal, in_float: list[Layer], wider: QConfig) -> list[Layer]:
    """Those of `in_float` for which `wider` is enough: with it, they do not run in float, and the goal is still met."""
    trial, found = goal.trial, list[Layer]()
    for layer in reversed(in_float):
        prepared = trial.prepared_with(mixed(trial.mapping, in_float, [*found, layer], wider))
        if not runs_in_float(prepared, layer) and goal.met_by(convert_fx(prepared)):
            found.append(layer)
    return found[::-1]


def mixed(mapping: QConfigMapping, in_float: list[Layer], some: list[Layer], wider: QConfig | None) -> QConfigMapping:
    """A copy of `mapping` in which `in_float` stay float, but for `some` of them, which have `wider`."""
    return with_qconfig(left_float(mapping, [layer for layer in in_float if layer not in some]), some, wider)


def _least(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least number from 1 to `most` for which `holds`, if from some number on it does; else one for which it does.

    None if it does not hold for `most`.
    """
    if most < 1 or not holds(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
