"""What a pass changed: two drawings of one model as one.

    added     only after                 removed    only before
    changed   in both, but with another op, value, inputs, absorbed calls or precision

A node before and a node after are the same if they have the same name and do the same; of those left, if they do the
same at the same place of the user's model; of those left, if they compute the same first call there, in running order:
conv2d becomes Int8Conv2d.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from fxquant.arguments import typed
from fxquant.drawing.boxes import boxes_around
from fxquant.drawing.describe import drawing_of
from fxquant.drawing.draw import as_bytes, format_of, write
from fxquant.drawing.model import KINDS, Drawing, DrawnNode, Edge

Stage = nn.Module | Drawing | str | Path


@typed
def diff(before: Stage, after: Stage, path: str | Path | None = None) -> Drawing:
    """The drawing of `after` with what was added in green, changed in yellow, and, in red, what was in `before` only.

    Args:
        before, after: a model after two stages, or drawings of it, as FXQUANT_SNAPSHOTS writes them, or their files.
            A pass may change the model that it is given: keep `drawing_of(model)`, or a deepcopy, from before.
        path: also writes it there, in any format of `draw`.

    Raises ConfigError for what cannot be drawn, FileError for a file that is no drawing, PathError for one that cannot
    be read or written.
    """
    format = format_of(Path(path)) if path is not None else ""
    merged = merge(_drawing(before), _drawing(after))
    if path is not None:
        write(Path(path), as_bytes(merged, format, []))
    return merged


def _drawing(stage: Stage) -> Drawing:
    if isinstance(stage, Drawing):
        return stage
    return drawing_of(stage) if isinstance(stage, nn.Module) else Drawing.load(stage)


def merge(before: Drawing, after: Drawing) -> Drawing:
    """Both as one drawing, each node and edge with its change."""
    was, now = ({node.name: node for node in drawing.nodes} for drawing in (before, after))
    same = same_nodes(before.nodes, after.nodes)
    taken = set(now)
    renamed = {name: same.get(name) or _free(name, taken) for name in was}
    read, reads = _reads(before, renamed), _reads(after, {name: name for name in now})
    nodes = [replace(node, change="added") for name, node in now.items() if name not in same.values()]
    for old, new in same.items():
        lines = differences(was[old], now[new])
        if read[new] != reads[new]:
            lines.append(f"reads: {', '.join(read[new])} → {', '.join(reads[new])}")
        nodes.append(replace(now[new], change="changed" if lines else "", before=tuple(lines)))
    order = {name: i for i, name in enumerate(now)}
    nodes.sort(key=lambda node: order[node.name])
    nodes += [replace(node, name=renamed[name], change="removed") for name, node in was.items() if name not in same]
    boxes, box_of = boxes_around([(tuple(filter(None, node.box.split("."))), node.name) for node in nodes])
    title = after.title if before.title == after.title else f"{before.title} → {after.title}"
    drawn = tuple(replace(node, box=box_of[node.name]) for node in nodes)
    return Drawing(title, drawn, _edges(before, after, renamed), boxes)


def same_nodes(before: Sequence[DrawnNode], after: Iterable[DrawnNode]) -> dict[str, str]:
    """The names before of nodes that are still there, and their names after."""
    by_name = {node.name: node for node in after}
    same = {n.name: n.name for n in before if n.name in by_name and _identity(by_name[n.name]) == _identity(n)}
    for key in (_identity, _first_call):
        left: dict[tuple[str, ...], list[str]] = defaultdict(list)
        found = set(same.values())
        for node in by_name.values():
            if node.name not in found:
                left[key(node)].append(node.name)
        for node in before:
            if node.name not in same and key(node) and left[key(node)]:
                same[node.name] = left[key(node)].pop(0)
    return same


def _identity(node: DrawnNode) -> tuple[str, ...]:
    return node.op, node.place, node.source


def _first_call(node: DrawnNode) -> tuple[str, ...]:
    """The first call of the user's model that the node computes, and where; nothing if it computes none."""
    return (node.absorbed[0], node.place, node.source) if node.absorbed else ()


def differences(was: DrawnNode, now: DrawnNode) -> list[str]:
    """How a node that is in both differs, a line for each difference."""
    pairs = [
        ("op", was.op, now.op),
        ("is", KINDS[was.kind], KINDS[now.kind]),
        ("gives", ", ".join(was.value.lines), ", ".join(now.value.lines)),
        ("computes", " + ".join(was.absorbed), " + ".join(now.absorbed)),
        ("float because", was.reason, now.reason),
    ]
    pairs += [(k, was.arguments.get(k, ""), now.arguments.get(k, "")) for k in {**was.arguments, **now.arguments}]
    return [f"{what}: {a or 'nothing'} → {b or 'nothing'}" for what, a, b in pairs if a != b]


def _edges(before: Drawing, after: Drawing, renamed: Mapping[str, str]) -> tuple[Edge, ...]:
    old = {(renamed[edge.tail], renamed[edge.head]) for edge in before.edges}
    new = {(edge.tail, edge.head) for edge in after.edges}
    edges = [replace(edge, change="" if (edge.tail, edge.head) in old else "added") for edge in after.edges]
    gone = [(renamed[edge.tail], renamed[edge.head]) for edge in before.edges]
    return (*edges, *(Edge(t, h, labelled=False, change="removed") for t, h in gone if (t, h) not in new))


def _reads(drawing: Drawing, renamed: Mapping[str, str]) -> dict[str, list[str]]:
    """What each node reads, all by their new names."""
    reads: dict[str, list[str]] = {renamed[node.name]: [] for node in drawing.nodes}
    for edge in drawing.edges:
        reads[renamed[edge.head]].append(renamed[edge.tail])
    return reads


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_before"
    taken.add(name)
    return name
