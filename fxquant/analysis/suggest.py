"""A QConfigMapping that meets a target with few layers in float, found by search and verified on real int8 models.

rank      the layers by what is won with each in float (sensitivity)
bisect    for the shortest beginning of that ranking which meets the target in float
prune     give back to int8, from the last one, each layer without which the target is still met
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
from fxquant.analysis.sensitivity import Sensitivity, sensitivity
from fxquant.bench.timing import interleaved_medians
from fxquant.errors import ConfigError, TargetError
from fxquant.qconfig_mapping import QConfigMapping

# How often each of the three models is timed.
ROUNDS = 5


@dataclass(frozen=True)
class Suggestion:
    """A mapping that meets the target, and what it costs.

    `mapping`: for prepare_fx, or for convert_fx of the model that is prepared already. `left_float`: the layers that it
    leaves in float. `metric`, `int8_metric`, `float_metric`: with it, with all in int8, and of the float model.
    `seconds`, `int8_seconds`, `float_seconds`: median times of the first batch, with torch's current threads.
    """

    mapping: QConfigMapping
    left_float: tuple[Layer, ...]
    layers: int
    target: float | None
    metric: float
    int8_metric: float
    float_metric: float
    seconds: float
    int8_seconds: float
    float_seconds: float

    def __str__(self) -> str:
        target = "" if self.target is None else f"target {self.target:.4g}; "
        names = ", ".join(layer.name for layer in self.left_float) or "none"
        return (
            f"{len(self.left_float)} of {self.layers} layers in float: {names}\n"
            f"metric: {self.metric:.4g} ({target}all in int8 {self.int8_metric:.4g}, "
            f"float {self.float_metric:.4g})\n"
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
    `rank_by`: the metric that ranks the layers, for which shares of right answers are too coarse; or give the `ranking`
    that `sensitivity` returned for this model. `most`: no more layers than this may stay float. Hold back some data,
    and judge the result on that, too.

    Raises TargetError, which names the best that was found, if the target cannot be met.
    """
    if sum(each is not None for each in (max_drop, target, floats)) != 1:
        raise ConfigError("give one of max_drop, target and floats")
    if floats is not None and floats < 0:
        raise ConfigError(f"floats must be at least 0, got {floats}")
    metric = metric or ("agreement" if max_drop is not None else "sqnr")
    if metric == "sqnr" and max_drop is not None:
        raise ConfigError("the float model's SQNR is infinite, so nothing is max_drop below it; give target, in dB")
    trial = trial_of(model, data, metric, prepared, qconfig_mapping)
    if ranking is None:
        batches = trial.judge.batches
        ranking = sensitivity(model, batches, rank_by, depth=depth, prepared=trial.prepared, progress=progress)
    ranked = [row.layer for row in ranking.rows]
    float_metric = trial.judge(model)
    needed = target if target is not None else float_metric - (max_drop or 0.0)
    chosen = ranked[:floats] if floats is not None else _search(trial, ranked, needed, most)
    mapping = left_float(trial.mapping, chosen)
    converted, in_int8 = trial.converted(mapping), trial.converted()
    calls = [partial(trial.judge.first_batch, each) for each in (converted, in_int8, model)]
    seconds, int8_seconds, float_seconds = interleaved_medians(calls, threads=torch.get_num_threads(), rounds=ROUNDS)
    return Suggestion(
        mapping=mapping,
        left_float=tuple(chosen),
        layers=len(ranked),
        target=None if floats is not None else needed,
        metric=trial.judge(converted),
        int8_metric=trial.judge(in_int8),
        float_metric=float_metric,
        seconds=seconds,
        int8_seconds=int8_seconds,
        float_seconds=float_seconds,
    )


def _search(trial: Trial, ranked: list[Layer], needed: float, most: int | None) -> list[Layer]:
    """The layers to leave float. Raises TargetError."""

    def meets(layers: list[Layer]) -> bool:
        return _value(trial, layers) >= needed

    if meets([]):
        return []
    allowed = len(ranked) if most is None else min(most, len(ranked))
    count = _least(allowed, lambda n: meets(ranked[:n]))
    if count is None:
        best = _value(trial, ranked[:allowed])
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
