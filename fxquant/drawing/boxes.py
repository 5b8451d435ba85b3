"""The boxes around nodes: the user's module tree, without levels that would hold a single node or a single box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from fxquant.drawing.model import Box

Scope = tuple[str, ...]
Placed = tuple[Scope, str]


def boxes_around(placed: Sequence[Placed]) -> tuple[tuple[Box, ...], dict[str, str]]:
    """For names, each with the path of the module that it stands in: the boxes, and the path of the box of each name.

    A module has a box once two of the names are in it. A box whose content is all in one box within it is left out.
    """
    boxes: list[Box] = []
    box_of: dict[str, str] = {}
    _place(placed, "", 0, boxes, box_of)
    return tuple(boxes), box_of


def _place(placed: Sequence[Placed], box: str, depth: int, boxes: list[Box], box_of: dict[str, str]) -> None:
    groups: dict[Scope, list[Placed]] = {}
    for scope, name in placed:
        groups.setdefault(scope[: depth + 1] if len(scope) > depth else (), []).append((scope, name))
    for group, members in groups.items():
        if not group or len(members) == 1:
            box_of.update((name, box) for _, name in members)
            continue
        common = _common_prefix([scope for scope, _ in members])
        boxes.append(Box(".".join(common), box))
        _place(members, boxes[-1].path, len(common), boxes, box_of)


def _common_prefix(scopes: Sequence[Scope]) -> Scope:
    """What all scopes start with: where the first and the last in order still agree."""
    return tuple(a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(min(scopes), max(scopes), strict=False)))
