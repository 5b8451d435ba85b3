"""A process for each contestant: it prepares once, then runs when it is asked to, and idles in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fxquant.bench.case import Case, Job, load
from fxquant.bench.contestants import CONTESTANTS, Contestant
from fxquant.bench.timing import burst
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import FxquantError

# Seconds that a contestant may take to prepare or for one turn, before it counts as hung.
PATIENCE = 1800.0


class WorkerError(FxquantError):
    """A contestant could not run the model; the message is its own reason."""


@dataclass(frozen=True)
class _Ready:
    """The worker is prepared; `sqnr_db` of its first output against the float model's."""

    sqnr_db: float


@dataclass(frozen=True)
class _Failed:
    reason: str


class Worker:
    """One contestant on one job in a process of its own, ready to run. Use as a context; leaving it ends the process.

    Raises WorkerError with the contestant's reason if it cannot prepare the model, and in `burst` if it fails later.
    """

    def __init__(self, contestant: Contestant, job: Job) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, contestant.name, job), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.sqnr_db: float = self._receive().sqnr_db
        except WorkerError:
            self.close()
            raise

    def burst(self, budget: float) -> list[float]:
        """The seconds of each call of a `timing.burst` over there."""
        with suppress(OSError):  # of a process that has ended; what it answered last says why
            self._connection.send(budget)
        seconds: list[float] = self._receive()
        return seconds

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> Any:
        try:
            if not self._connection.poll(PATIENCE):
                self._process.terminate()
                raise WorkerError(f"it gave no answer for {PATIENCE:.0f} seconds")
            answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise WorkerError(f"its process ended with code {self._process.exitcode}") from None
        if isinstance(answer, _Failed):
            raise WorkerError(answer.reason)
        return answer


def _work(connection: Connection, name: str, job: Job) -> None:
    """The worker's side: prepare, then a burst for each budget received, until the connection is closed."""
    _silence()
    try:
        [contestant] = [row for row in CONTESTANTS if row.name == name]
        case = load(job)
        call = contestant.prepare(case)
        torch.set_num_threads(job.threads)
        with torch.inference_mode():
            connection.send(_Ready(_compare(case, call)))
            while True:
                connection.send(burst(call, connection.recv()))
    except EOFError:
        return
    except Exception as error:
        connection.send(_Failed(f"{type(error).__name__}: {error}"))


def _silence() -> None:
    """Peers print progress and warnings, from C++ as well; the report has the terminal for itself."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _compare(case: Case, call: Callable[[], object]) -> float:
    return sqnr_db(first_tensor(case.model(*case.inputs)), first_tensor(call()))


def first_tensor(output: object) -> Tensor:
    """The first tensor of a model's output, whichever of torch, numpy, lists and mappings hold it."""
    values = list(output.values()) if isinstance(output, Mapping) else output
    leaf = next(leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, (Tensor, np.ndarray)))
    return torch.as_tensor(leaf)
