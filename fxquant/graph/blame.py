"""Which pass broke what: runs a pass, looks at the graph that it leaves, and names it, the node and the reason.

A graph must be sound after every pass. The promises of a stage hold at its end; one that is broken there is laid at the
door of the last pass since which it has been. Plug-ins are always watched, built-in passes with FXQUANT_DEBUG=1. A
built-in pass that fails on a graph that plug-ins changed says which did.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from torch.fx import GraphModule, Node

from fxquant.errors import FxquantError, PassError
from fxquant.graph.look import SHOWN, Look
from fxquant.graph.origin import where
from fxquant.graph.registry import Pass
from fxquant.graph.soundness import faults
from fxquant.graph.verify import problems

PLUGGED = "plugged"  # in gm.meta: the plug-in passes that the graph went through


class Blame:
    """Watches the passes of one stage at work on one graph."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.broken: dict[tuple[str, str], tuple[Pass, str] | None] = {}  # by node and reason: the pass, its diff
        self.watched = False
        self.seconds = 0.0  # that the last pass took

    def run(self, gm: GraphModule, each: Pass) -> GraphModule:
        """The graph after the pass. Raises PassError if it raises, or if the graph does not hold together."""
        before = Look.at(gm)
        self._note(gm, None)
        after = self._result(gm, each, before)
        look = Look.at(after)
        diff = before.diff(look, each.name, SHOWN)
        for node, reason in faults(after, before, look):
            raise _error(each, node.name if node else "", reason, diff, where(node) if node else "")
        self._note(after, (each, diff))
        self.watched = True
        if not each.builtin:
            after.meta[PLUGGED] = (*after.meta.get(PLUGGED, ()), f"{each.name} ({each.source})")
        return after

    def run_unwatched(self, gm: GraphModule, each: Pass) -> GraphModule:
        """The graph after a built-in pass. Raises PassError if it raises on what plug-ins left."""
        return self._result(gm, each, None) if gm.meta.get(PLUGGED) else each.run(gm)

    def _result(self, gm: GraphModule, each: Pass, before: Look | None) -> GraphModule:
        start = time.perf_counter()
        try:
            after: Any = each.run(gm)
        except FxquantError:
            raise
        except Exception as error:  # the code of others may raise whatever it likes
            diff = before.diff(Look.at(gm), each.name, SHOWN) if before else ""
            others = f"; before it ran {', '.join(gm.meta[PLUGGED])}" if each.builtin and gm.meta.get(PLUGGED) else ""
            reason = f"it raised {type(error).__name__}: {error}{others}"
            raise _error(each, _node_at(error.__traceback__), reason, diff) from error
        self.seconds = time.perf_counter() - start
        if not isinstance(after, GraphModule):
            gave = "None" if after is None else f"a {type(after).__name__}"
            raise _error(each, "", f"it returned {gave}; a pass returns the GraphModule", "")
        return after

    def _note(self, gm: GraphModule, by: tuple[Pass, str] | None) -> None:
        found = [(node.name, reason) for node, reason in problems(gm, self.stage)]
        self.broken = {key: self.broken.get(key, by) for key in found}

    def settle(self, gm: GraphModule) -> None:
        """At the end of the stage: raises PassError for a promise that a pass broke, and none since mended."""
        if not self.watched or not self.broken:
            return
        for node, reason in problems(gm, self.stage):
            by = self.broken.get((node.name, reason))
            if by is not None:
                raise _error(by[0], node.name, reason, by[1], where(node))


def _error(each: Pass, node: str, reason: str, diff: str, place: str = "") -> PassError:
    at = f" at {node}" if node else ""
    origin = f" (from {place})" if place and place != node else ""
    shown = f"\n{diff}" if diff else ""
    message = f"the pass {each.name} ({each.source}), of the stage {each.stage}, broke the graph{at}{origin}: {reason}"
    return PassError(each.name, node, reason, message + shown)


def _node_at(traceback: TracebackType | None) -> str:
    """The node that the innermost function knew of when it raised."""
    found = ""
    while traceback is not None:
        nodes = [value for value in traceback.tb_frame.f_locals.values() if isinstance(value, Node)]
        found = nodes[-1].name if nodes else found
        traceback = traceback.tb_next
    return found
