"""A QConfigMapping that meets a target with few layers in float, found by search and verified on real int8 models.

The layers are ranked by what is won with each in float (`sensitivity`), and searched in that order (`search`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from fxquant.analysis.judge import Metric, Trial, trial_of
from fxquant.analysis.layers import Layer
from fxquant.analysis.search import Goal, fewest_in_float, mixed, widened
from fxquant.analysis.sensitivity import Sensitivity, sensitivity
from fxquant.arguments import typed
from fxquant.bench.timing import interleaved_medians
from fxquant.errors import ConfigError
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import QConfigMapping
from fxquant.quantize_fx import convert_fx

# How often each of the three models is timed.
ROUNDS = 5
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Suggestion:
    """A mapping that meets the target, and what it costs.

    `mapping`: for prepare_fx; unless layers are `widened`, also for convert_fx of the model that is prepared already.
    `left_float`: the layers that it leaves in float. `widened`: those that have the QConfig `wider`. `metric`,
    `int8_metric`, `float_metric`: with it, with all in int8, and of the float model.
    `expected`: the metric of as many other examples at least, with the `confidence` asked for; None if not known.
    `seconds`, `int8_seconds`, `float_seconds`: median times of the first batch, with torch's current threads.
    """

    mapping: QConfigMapping
    left_float: tuple[Layer, ...]
    widened: tuple[Layer, ...]
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
        widened = f"{len(self.widened)} wider: {_names(self.widened)}\n" if self.widened else ""
        return (
            f"{len(self.left_float)} of {self.layers} layers in float: {_names(self.left_float)}\n{widened}"
            f"metric: {self.metric:.4g} ({target}all in int8 {self.int8_metric:.4g}, "
            f"float {self.float_metric:.4g})\n{others}"
            f"time: {self.seconds * 1e3:.2f} ms, {self.seconds / self.int8_seconds:.2f} times that of all in int8 "
            f"({self.int8_seconds * 1e3:.2f} ms; float {self.float_seconds * 1e3:.2f} ms)"
        )


def _names(layers: Iterable[Layer]) -> str:
    return ", ".join(layer.name for layer in layers) or "none"


@typed
def suggest(
    model: nn.Module,
    data: Iterable[Any],
    *,
    max_drop: float | None = None,
    target: float | None = None,
    floats: int | None = None,
    wider: QConfig | None = None,
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
    `confidence`: as many other examples are to meet the target with that probability; 0 if meeting it on `data` is
    enough. A metric of your own is taken as measured: hold back some data, and judge the result on that.
    `wider`: a QConfig between int8 and float, such as per_channel_dynamic_qconfig or per_channel_weight_only_qconfig.
    Of the layers found, those get it for which it is enough; the rest stay float. Each try prepares the model anew, so
    it goes with `qconfig_mapping`, not with `prepared`.
    `rank_by`: the metric that ranks the layers, for which shares of right answers are too coarse; or give the `ranking`
    that `sensitivity` returned for this model. `most`: no more layers than this may stay float.

    Raises TargetError, which names the best that was found, if the target cannot be met, and which says how many
    examples it takes, if `data` are too few to show it.
    """
    metric = _checked_metric(metric, max_drop, target, floats, confidence)
    if wider is not None and (floats is not None or prepared is not None):
        raise ConfigError(
            "wider is searched for a target, and prepares the model anew: it goes with neither floats= nor prepared="
        )
    trial = trial_of(model, data, metric, prepared, qconfig_mapping)
    goal = Goal(trial, target if target is not None else trial.judge(model) - (max_drop or 0.0), confidence)
    if floats is None:
        goal.check()
    if ranking is None:
        batches = trial.judge.batches
        ranking = sensitivity(model, batches, rank_by, depth=depth, prepared=trial.prepared, progress=progress)
    ranked = [row.layer for row in ranking.rows]
    chosen = ranked[:floats] if floats is not None else fewest_in_float(goal, ranked, most)
    some = [] if wider is None else widened(goal, chosen, wider)
    mapping = mixed(trial.mapping, chosen, some, wider)
    left_float = [layer for layer in chosen if layer not in some]
    return _judged(goal, mapping, left_float, some, len(ranked), None if floats is not None else goal.needed)


def _judged(
    goal: Goal, mapping: QConfigMapping, left_float: list[Layer], some: list[Layer], layers: int, target: float | None
) -> Suggestion:
    """What the mapping gives, and what it costs, beside all in int8 and the float model."""
    trial = goal.trial
    model, in_int8 = trial.judge.model, trial.converted()
    converted = convert_fx(trial.prepared_with(mapping)) if some else trial.converted(mapping)
    seconds, int8_seconds, float_seconds = _times(trial, [converted, in_int8, model])
    return Suggestion(
        mapping=mapping,
        left_float=tuple(left_float),
        widened=tuple(some),
        layers=layers,
        target=target,
        metric=trial.judge(converted),
        int8_metric=trial.judge(in_int8),
        float_metric=trial.judge(model),
        expected=goal.expected(converted),
        confidence=goal.confidence,
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
