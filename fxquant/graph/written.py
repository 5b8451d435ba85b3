"""Whether the user wrote a call as a pattern of a BackendConfig has it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Node

from fxquant.backend_config.config import leaves_of
from fxquant.graph.annotation import activations
from fxquant.graph.origin import origin_of

# In a sequence they are no step of their own: the layer in front has taken them in.
_FOLDED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def is_written_as(node: Node, pattern: Any) -> bool:
    """Of an op: whether it is that one. Of a sequence: whether it is in one, whose values nothing else reads.

    Of nested tuples, which say more than sequences: whether they name it.
    """
    if not isinstance(pattern, tuple) or any(isinstance(part, (tuple, list)) for part in pattern):
        return _spelling(node) in set(leaves_of(pattern))
    steps = [part for part in pattern if part not in _FOLDED] or list(pattern)
    return any(_is_step(node, steps, index) for index in range(len(steps)))


def _is_step(node: Node, steps: list[Any], index: int) -> bool:
    before: list[Node | None] = [node]
    for _ in range(index):
        before.insert(0, _source(before[0]))
    after: list[Node | None] = [node]
    for _ in steps[index + 1 :]:
        after.append(_reader(after[-1]))
    return [None if each is None else _spelling(each) for each in (*before[:-1], *after)] == steps


def _source(node: Node | None) -> Node | None:
    """What `node` reads first, unless others read it, too."""
    source = next(iter(activations(node)), None) if node is not None else None
    return source if source is not None and len(source.users) == 1 else None


def _reader(node: Node | None) -> Node | None:
    """The only one that reads `node`."""
    return next(iter(node.users)) if node is not None and len(node.users) == 1 else None


def _spelling(node: Node) -> Any:
    origin = origin_of(node)
    return origin.spelling if origin else None
