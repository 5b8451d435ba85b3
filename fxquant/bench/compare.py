"""All contestants on one model: each in a process of its own, taking turns; only one of them runs at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain

from fxquant.bench.case import Job
from fxquant.bench.contestants import Contestant
from fxquant.bench.timing import Spread, interleaved, spread
from fxquant.bench.worker import Worker, WorkerError
from fxquant.errors import MissingError


@dataclass(frozen=True)
class Result:
    """One contestant on one model: its seconds and the SQNR of its output against float, or the reason for none.

    `times` are those of all calls, `turns` the medians of each round.
    """

    contestant: str
    times: Spread | None = None
    turns: tuple[float, ...] = ()
    sqnr_db: float | None = None
    reason: str = ""


def compare(
    job: Job,
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    budget: float,
    report: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """A Result for each contestant, in their order.

    In each of `rounds`, every contestant runs for about `budget` seconds. `report` is told what happens. A contestant
    that is not installed, or fails, has the reason in its Result.
    """
    reasons: dict[str, str] = {}
    workers: dict[str, Worker] = {}

    def turn(name: str) -> list[float]:
        if name not in reasons:
            try:
                return workers[name].burst(budget)
            except WorkerError as error:
                reasons[name] = str(error)
        return []

    with ExitStack() as stack:
        for contestant in contestants:
            report(f"{job.model}: {contestant.name} prepares")
            try:
                contestant.check_installed()
                workers[contestant.name] = stack.enter_context(Worker(contestant, job))
            except (MissingError, WorkerError) as error:
                reasons[contestant.name] = str(error)
        report(f"{job.model}: {len(workers)} take turns")
        turns = interleaved([partial(turn, name) for name in workers], rounds)
    results = {
        name: Result(name, spread([*chain(*seconds)]), tuple(map(statistics.median, seconds)), worker.sqnr_db)
        for (name, worker), seconds in zip(workers.items(), turns, strict=True)
        if name not in reasons
    }
    names = [contestant.name for contestant in contestants]
    return [results[name] if name in results else Result(name, reason=reasons[name]) for name in names]
