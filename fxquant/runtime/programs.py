"""The programs of a region, by input layout."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxquant.runtime.plan import Plan

# Programs that a region keeps: those planned last.
KEPT_PROGRAMS = 16

_all: weakref.WeakSet[Programs] = weakref.WeakSet()


class Programs:
    """Plans that were made in this process. Copies begin empty, and nothing is saved."""

    def __init__(self) -> None:
        self.plans: dict[Any, Plan] = {}
        self._lock = threading.Lock()
        _all.add(self)

    def __reduce__(self) -> Any:
        return Programs, ()

    def make(self, key: Any, plan: Callable[[], Plan]) -> Plan:
        """The plan under `key`, by calling `plan` if it is not there: once, however many threads ask."""
        with self._lock:
            if key not in self.plans:
                latest = list(self.plans.items())[1 - KEPT_PROGRAMS :]
                self.plans = {**dict(latest), key: plan()}
            return self.plans[key]


def forget_programs() -> None:
    """Drops every plan of the process: a layer has got other weights, and programs hold addresses of the old ones."""
    for programs in list(_all):
        programs.plans = {}


atexit.register(forget_programs)  # nanobind complains of programs that outlive its module
