"""Which pass broke what: runs a pass, looks at the graph that it leaves, and names it, the node and the reason.

A graph must hold together after every pass. The promises of a stage hold at its end; one that is broken there is laid
at the door of the last pass since which it has been. Plug-ins are always watched, built-in passes with FXQUANT_DEBUG=1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from difflib import unified_diff
from types import TracebackType
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from fxquant.errors import FxquantError, PassError
from fxquant.graph.origin import where
from fxquant.graph.registry import Pass
from fxquant.graph.selection import PREPARE
from fxquant.graph.shapes import inferred
from fxquant.graph.verify import problems
from fxquant.ops.op import Op, op_of

_SHOWN = 30  # lines of a diff


class Blame:
    """Watches the passes of one stage at work on one graph."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.broken: dict[tuple[str, str], tuple[Pass, str] | None] = {}  # by node and reason: the pass, its diff
        self.watched = False

    def run(self, gm: GraphModule, each: Pass) -> GraphModule:
        """The graph after the pass. Raises PassError if it raises, or if the graph does not hold together."""
        before, ends, known = _lines(gm), _ends(gm), _with_shape(gm)
        self._note(gm, None)
        after = _result(gm, each, before)
        diff = _diff(before, _lines(after), each.name)
        found = (_structure(after), _lost(after, ends), _stale(after, self.stage, set(before), known))
        for node, reason in itertools.chain.from_iterable(found):
            raise _error(each, node.name if node else "", reason, diff, where(node) if node else "")
        self._note(after, (each, diff))
        self.watched = True
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


def _result(gm: GraphModule, each: Pass, before: list[str]) -> GraphModule:
    try:
        after: Any = each.run(gm)
    except FxquantError:
        raise
    except Exception as error:  # the code of others may raise whatever it likes
        diff = _diff(before, _lines(gm), each.name)
        node = _node_at(error.__traceback__)
        raise _error(each, node, f"it raised {type(error).__name__}: {error}", diff) from error
    if not isinstance(after, GraphModule):
        gave = "None" if after is None else f"a {type(after).__name__}"
        raise _error(each, "", f"it returned {gave}; a pass returns the GraphModule", "")
    return after


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


def _lines(gm: GraphModule) -> list[str]:
    return [str(node.format_node()) for node in gm.graph.nodes]


def _diff(before: list[str], after: list[str], name: str) -> str:
    lines = list(unified_diff(before, after, "before", name, lineterm="", n=1))
    return "\n".join([*lines[:_SHOWN], *([f"… {len(lines) - _SHOWN} lines more"] if len(lines) > _SHOWN else [])])


def _ends(gm: GraphModule) -> tuple[list[str], list[Any]]:
    """The names of the inputs, and the shapes of the outputs, None where one is not known."""
    inputs = [str(node.target) for node in gm.graph.nodes if node.op == "placeholder"]
    outputs = [x for node in gm.graph.nodes if node.op == "output" for x in pytree.tree_leaves(node.args)]
    return inputs, [x.meta.get("shape") if isinstance(x, Node) else None for x in outputs]


def _with_shape(gm: GraphModule) -> set[str]:
    return {node.name for node in gm.graph.nodes if node.meta.get("shape") is not None}


def _structure(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """Every node reads what was computed before it, and what it fetches or calls is there."""
    present, seen = set(gm.graph.nodes), set()
    for node in gm.graph.nodes:
        for x in node.all_input_nodes:
            if x not in present:
                yield node, f"it reads {x.name}, which is not in the graph"
            elif x not in seen:
                yield node, f"it reads {x.name}, which is computed after it"
        seen.add(node)
        row = op_of(node)
        if row is not None and (reason := _unbound(row, node)):
            yield node, reason
        if node.op in ("get_attr", "call_module") and not _has(gm, str(node.target)):
            yield node, f"the model has no {node.target} any more"


def _unbound(row: Op, node: Node) -> str:
    """Why the arguments of an op's call do not fit its signature, if they do not."""
    try:
        row.signature.bind(*node.args, **node.kwargs)
    except TypeError as error:
        return f"its arguments do not fit {row.name}{row.signature}: {error}"
    return ""


def _has(gm: GraphModule, path: str) -> bool:
    value: Any = gm
    for name in path.split("."):
        value = getattr(value, name, None)
    return value is not None


def _lost(gm: GraphModule, before: tuple[list[str], list[Any]]) -> Iterator[tuple[Node | None, str]]:
    """Inputs, outputs and their shapes are those of the model."""
    (inputs, shapes), (old_inputs, old_shapes) = _ends(gm), before
    last = next(reversed(gm.graph.nodes), None)
    if len(shapes) != len(old_shapes):
        yield last, f"the model gave {len(old_shapes)} values, and gives {len(shapes)}"
    if inputs != old_inputs:
        yield last, f"the model took {', '.join(old_inputs)}, and takes {', '.join(inputs) or 'nothing'}"
    for i, (old, new) in enumerate(zip(old_shapes, shapes, strict=False)):
        if old is not None and new is not None and old != new:
            yield last, f"output {i} of the model was of shape {_text(old)}, and is of {_text(new)}"


def _stale(gm: GraphModule, stage: str, before: set[str], known: set[str]) -> Iterator[tuple[Node, str]]:
    """What a new or changed node's meta says is what its op gives; dtypes only while values are in float.

    `known`: the names of nodes that had a shape before.
    """
    keys = ("shape", "dtype") if stage in PREPARE else ("shape",)
    for node in gm.graph.nodes:
        if node.meta.get("shape") is None:
            if node.name in known:
                yield node, "its meta has lost the shape"
            continue
        if node.format_node() in before:
            continue
        try:
            with torch.no_grad():
                given = dict(zip(("shape", "dtype"), inferred(node), strict=True))
        except Exception:  # the body asks for numbers, or for what nothing is known of
            continue
        for key in keys:
            if given[key] != node.meta.get(key):
                yield node, f"its meta[{key!r}] is {_text(node.meta.get(key))}, but it gives {_text(given[key])}"


def _text(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)
