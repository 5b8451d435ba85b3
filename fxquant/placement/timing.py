"""Short measurements."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

# Calls that are compared take at least FEW turns, and more until `seconds` are over. Slow ones take fewer turns, within
# PATIENCE seconds, but two at least. A busy machine can stop a call of microseconds for milliseconds; not ten in a row.
FEW, SECONDS, PATIENCE = 10, 1e-2, 0.1


def least_seconds(calls: Sequence[Callable[[], object]], turns: int = 100, seconds: float = SECONDS) -> list[float]:
    """The least time of each call. They take turns, so that a change of the clock's speed meets all alike."""
    least = [math.inf] * len(calls)
    for call in calls:
        call()
    begin = time.perf_counter()
    for turn in range(turns):
        over = time.perf_counter() - begin
        if (turn >= FEW and over > seconds) or (turn >= 2 and over > PATIENCE):
            break
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            least[i] = min(least[i], time.perf_counter() - start)
    return least
