"""v' = scale * v + shift, for each channel: what a node gives on purpose where the user's model computes v.

Corrections stretch and shift values within a model, and what reads them makes up for it. Noted at the node in
`node.meta["rescaling"]`, it goes through all passes with the value, so that v' can be held against v after any stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from fxquant.qparams import along_axis


@dataclass(frozen=True, eq=False)
class Rescaling:
    """`axis`: the dimension of the channels. `scale` and `shift`: [channels]."""

    axis: int
    scale: Tensor
    shift: Tensor

    def of(self, value: Tensor) -> Tensor:
        """v' of the value v."""
        return value * along_axis(self.scale, value, self.axis) + along_axis(self.shift, value, self.axis)


def rescaling_of(node: Node) -> Rescaling | None:
    """How the node's value differs from the user's; None if it does not."""
    return node.meta.get("rescaling")


def note_rescaling(node: Node, axis: int, scale: Tensor | None = None, shift: Tensor | None = None) -> None:
    """Notes that a node now gives scale * v + shift of what it gave before: [channels] each, along dimension `axis`."""
    by = next(values for values in (scale, shift) if values is not None).detach()
    scale = torch.ones_like(by) if scale is None else scale.detach()
    shift = torch.zeros_like(by) if shift is None else shift.detach()
    if (before := rescaling_of(node)) is not None:
        scale, shift = scale * before.scale, scale * before.shift + shift
    node.meta["rescaling"] = Rescaling(axis, scale, shift)
