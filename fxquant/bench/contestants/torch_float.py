"""The float model as it is."""

from __future__ import annotations

from collections.abc import Callable

from fxquant.bench.case import Case
from fxquant.bench.contestants.contestant import Contestant


def _prepare(case: Case) -> Callable[[], object]:
    return lambda: case.model(*case.inputs)


FLOAT = Contestant("torch float", "eager, float32, in inference mode", _prepare)
