"""Short measurements."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

# Calls that are compared take turns until this many seconds are over, but twice at least.
SECONDS = 5e-3


def least_seconds(calls: Sequence[Callable[[], object]], turns: int = 50) -> list[float]:
    """The least time of each call. They take turns, so that a change of the clock's speed meets all alike."""
    least = [math.inf] * len(calls)
    for call in calls:
        call()
    begin = time.perf_counter()
    for turn in range(turns):
        if turn >= 2 and time.perf_counter() - begin > SECONDS:
            break
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            least[i] = min(least[i], time.perf_counter() - start)
    return least
