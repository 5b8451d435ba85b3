"""A QConfigMapping that meets a target with few layers in float, found by search and verified on real int8 models.

rank      the layers by what is won with each in float (sensitivity)
bisect    for the shortest beginning of that ranking which meets the target in float
prune     give back to int8, from the last one, each layer without which the target is still met

What meets the target on the data at hand, just so, meets it on others in one case of two. So of "agreement", whose
chances are known, as many other examples must be expected to meet it (see `margin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from fxquant.analysis.judge import Metric, Trial, trial_of
from fxquant.analysis.layers import Layer, left_float
from fxquant.analysis.margin import examples_for, expected_on_others
from fxquant.analysis.sensitivity import Sensitivity, sensitivity
from fxquant.bench.timing import interleaved_medians
from fxquant.errors import ConfigError, TargetError
from fxquant.qconfig_mapping import QConfigMapping

# How often each of the three models is timed.
ROUNDS = 5
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Suggestion:
    """A mapping that meets the target, and what it costs.

    `mapping`: for prepare_fx, or for convert_fx of the model that is prepared already. `left_float`: the layers that it
    leaves in float. `metric`, `int8_metric`, `float_metric`: with it, with all in int8, and of the float model.
    `expected`: the metric of as many other examples at least, with the `confidence` asked for; None if not known.
    `seconds`, `int8_seconds`, `float_seconds`: median times of the first batch, with torch's current threads.
    """

    mapping: QConfigMapping
    left_float: tuple[Layer, ...]
    layers: int
    target: float | None
    metric: float
    int8_metric: float
    float_metric: float
    expected: float | None
    confidence: float
    seconds: float
    int8_seconds: float
    float_seconds: float

    def __str__(self) -> str:
        target = "" if self.target is None else f"target {self.target:.4g}; "
        others = (
            ""
            if self.expected is None
            else f"on as many other examples: {self.expected:.4g} or more, with a confidence of {self.confidence:.0%}\n"
        )
        names = ", ".join(layer.name for layer in self.left_float) or "none"
        return (
            f"{len(self.left_float)} of {self.layers} layers in float: {names}\n"
            f"metric: {self.metric:.4g} ({target}all in int8 {self.int8_metric:.4g}, "
            f"float {self.float_metric:.4g})\n{others}"
            f"time: {self.seconds * 1e3:.2f} ms, {self.seconds / self.int8_seconds:.2f} times that of all in int8 "
            f"({self.int8_seconds * 1e3:.2f} ms; float {self.float_seconds * 1e3:.2f} ms)"
        )


def suggest(
    model: nn.Module,
    data: Iterable[Any],
    *,
    max_drop: float | None = None,
    target: float | None = None,
    floats: int | None = None,
    metric: Metric | str | None = None,
    confidence: float = CONFIDENCE,
    rank_by: Metric | str = "sqnr",
    depth: int | None = None,
    most: int | None = None,
    ranking: Sensitivity | None = None,
    qconfig_mapping: Any = None,
    prepared: nn.Module | None = None,
    progress: bool = True,
) -> Suggestion:
    """The mapping that meets a target with the fewest layers in float that the search finds; the same at every call.

    Give one of `max_drop` (the metric may be that much below the float model's), `target` (the metric itself: for
    "sqnr", the dB), or `floats` (so many layers may stay float; the best choice wins). `metric`, `data`, `depth`,
    `qconfig_mapping`, `prepared` as of `sensitivity`; the default metric is "agreement" for `max_drop`, else "sqnr".
    `confidence`: the target of "agreement" is to be met by as many other examples with that probability; 0 if meeting
    it on `data` is enough. Any other metric is taken as measured: hold back some data, and judge the result on that.
    `rank_by`: the metric that ranks the layers, for which shares of right answers are too coarse; or give the `ranking`
    that `sensitivity` returned for this model. `most`: no more layers than this may stay float.

    Raises TargetError, which names the best that was found, if the target cannot be met, and which says how many
    examples it takes, if `data` are too few to show it.
    """
    metric = _checked_metric(metric, max_drop, target, floats, confidence)
    trial = trial_of(model, data, metric, prepared, qconfig_mapping)
    float_metric = trial.judge(model)
    needed = target if target is not None else float_metric - (max_drop or 0.0)
    at_least = _at_least(trial, confidence)
    if floats is None and at_least is not None and at_least(1.0) < needed:
        raise TargetError(_too_few(trial, needed, confidence))
    if ranking is None:
        batches = trial.judge.batches
        ranking = sensitivity(model, batches, rank_by, depth=depth, prepared=trial.prepared, progress=progress)
    ranked = [row.layer for row in ranking.rows]
    chosen = ranked[:floats] if floats is not None else _search(trial, ranked, needed, most, at_least)
    mapping = left_float(trial.mapping, chosen)
    converted, in_int8 = trial.converted(mapping), trial.converted()
    seconds, int8_seconds, float_seconds = _times(trial, [converted, in_int8, model])
    reached = trial.judge(converted)
    return Suggestion(
        mapping=mapping,
        left_float=tuple(chosen),
        layers=len(ranked),
        target=None if floats is not None else needed,
        metric=reached,
        int8_metric=trial.judge(in_int8),
        float_metric=float_metric,
        expected=None if at_least is None else at_least(reached),
        confidence=confidence,
        seconds=seconds,
        int8_seconds=int8_seconds,
        float_seconds=float_seconds,
    )


def _checked_metric(
    metric: Metric | str | None, max_drop: float | None, target: float | None, floats: int | None, confidence: float
) -> Metric | str:
    """`metric`, or the default for the kind of target. Raises ConfigError where the arguments of suggest do not fit."""
    if sum(each is not None for each in (max_drop, target, floats)) != 1:
        raise ConfigError("give one of max_drop, target and floats")
    if floats is not None and floats < 0:
        raise ConfigError(f"floats must be at least 0, got {floats}")
    metric = metric or ("agreement" if max_drop is not None else "sqnr")
    if metric == "sqnr" and max_drop is not None:
        raise ConfigError("the float model's SQNR is infinite, so nothing is max_drop below it; give target, in dB")
    if not 0 <= confidence < 1:
        raise ConfigError(f"confidence={confidence!r} is not from 0 to less than 1")
    return metric


def _times(trial: Trial, models: list[nn.Module]) -> list[float]:
    """The median seconds that each takes for the first batch, in turns."""
    calls = [partial(trial.judge.first_batch, each) for each in models]
    return interleaved_medians(calls, threads=torch.get_num_threads(), rounds=ROUNDS)


def _at_least(trial: Trial, confidence: float) -> Callable[[float], float] | None:
    """What other examples have at least where these have so much; None where that is not known or not asked for."""
    if trial.judge.metric != "agreement" or not confidence:
        return None
    return partial(expected_on_others, examples=trial.judge.answers, confidence=confidence)


def _too_few(trial: Trial, needed: float, confidence: float) -> str:
    enough = examples_for(needed, confidence)
    more = "no number is enough to show that" if enough is None else f"give {enough} or more"
    return (
        f"{trial.judge.answers} examples are too few to expect {needed:.4g} of others with a confidence of "
        f"{confidence:.0%}, even if all agree: {more}, or confidence=0 to meet the target on these"
    )


def _search(
    trial: Trial, ranked: list[Layer], needed: float, most: int | None, at_least: Callable[[float], float] | None
) -> list[Layer]:
    """The layers to leave float. Raises TargetError."""

    def value(layers: list[Layer]) -> float:
        measured = _value(trial, layers)
        return measured if at_least is None else at_least(measured)

    def meets(layers: list[Layer]) -> bool:
        return value(layers) >= needed

    if meets([]):
        return []
    allowed = len(ranked) if most is None else min(most, len(ranked))
    count = _least(allowed, lambda n: meets(ranked[:n]))
    if count is None:
        best = value(ranked[:allowed])
        raise TargetError(
            f"the target {needed:.4g} cannot be met: with {allowed} of {len(ranked)} layers in float it is {best:.4g}"
        )
    chosen = ranked[:count]
    for layer in reversed(chosen[:-1]):
        fewer = [other for other in chosen if other is not layer]
        chosen = fewer if meets(fewer) else chosen
    return chosen


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


def _value(trial: Trial, layers: list[Layer]) -> float:
    return trial.judge(trial.converted(left_float(trial.mapping, layers)))
