"""How much the compiler shows of its work: FXQUANT_DEBUG, or `with fxquant.debug(2):`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch.fx import Node

from fxquant.errors import ConfigError

_LEVEL: ContextVar[int | None] = ContextVar("fxquant_debug", default=None)


def debug_level() -> int:
    """1 timings and verification, 2 what each pass changed, 3 refusals, 4 whole graphs.

    What `debug` says, or else FXQUANT_DEBUG. Raises ConfigError if FXQUANT_DEBUG is no such number.
    """
    level = _LEVEL.get()
    if level is not None:
        return level
    text = os.environ.get("FXQUANT_DEBUG", "0")
    if not text.isdigit():
        raise ConfigError(f"FXQUANT_DEBUG={text!r} is not a number from 0 to 4")
    return int(text)


def note_refusal(who: str, node: Node, reason: str) -> None:
    """Keeps with `node` why `who` left it as it is, once; printed from level 3 on."""
    refusals, refusal = node.meta.setdefault("refusals", []), f"{who}: {reason}"
    if refusal in refusals:
        return
    refusals.append(refusal)
    if debug_level() >= 3:
        print(f"{who} refuses {node.name}: {reason}", file=sys.stderr)


@contextmanager
def debug(level: int) -> Iterator[None]:
    """Within it, and in this thread, `level` holds in place of FXQUANT_DEBUG. Raises ConfigError but for 0 to 4."""
    if isinstance(level, bool) or level not in range(5):
        raise ConfigError(f"debug({level!r}): the level is a number from 0 to 4")
    token = _LEVEL.set(level)
    try:
        yield
    finally:
        _LEVEL.reset(token)
