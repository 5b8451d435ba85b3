"""Times of calls that take turns, so that a change of the machine's speed meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch


@dataclass(frozen=True)
class Spread:
    """The median of a sample of seconds, and the seconds that 10 % and 90 % of it do not exceed."""

    median: float
    low: float
    high: float


def spread(seconds: Sequence[float]) -> Spread:
    """The Spread of at least one time, between two times interpolated linearly."""
    if len(seconds) == 1:
        return Spread(seconds[0], seconds[0], seconds[0])
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return Spread(statistics.median(seconds), tenths[0], tenths[-1])


def burst(call: Callable[[], object], budget: float) -> list[float]:
    """The seconds of each call, one after the other, until `budget` seconds are over; the first is not counted."""
    call()
    seconds: list[float] = []
    end = time.perf_counter() + budget
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def interleaved(bursts: Sequence[Callable[[], list[float]]], rounds: int) -> list[list[list[float]]]:
    """For each of `bursts`, the times that it returned in each round; in a round they run one after the other."""
    times: list[list[list[float]]] = [[] for _ in bursts]
    for _ in range(rounds):
        for run, turns in zip(bursts, times, strict=True):
            turns.append(run())
    return times


def median_ratio(turns: Sequence[float], others: Sequence[float]) -> float:
    """The median over the rounds of the ratio of their times: a slow phase of the machine is in both, and cancels."""
    return statistics.median(mine / theirs for mine, theirs in zip(turns, others, strict=True))


def interleaved_medians(calls: Sequence[Callable[[], object]], *, threads: int, rounds: int = 30) -> list[float]:
    """The median time of each call in seconds, without gradients, with so many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            times = interleaved([lambda call=call: burst(call, 0) for call in calls], rounds)  # type: ignore[misc]
    finally:
        torch.set_num_threads(before)
    return [statistics.median(chain.from_iterable(turns)) for turns in times]
