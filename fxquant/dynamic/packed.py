"""Sequences of several lengths: as many steps as have the same batch are run at once.

A PackedSequence has its sequences sorted, longest first, and holds, step by step, those that last so long. Running
forwards, those that have ended keep their states; running backwards, those that begin later have their initial ones.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor


def run_packed(
    layer: Any, data: Tensor, sizes: list[int], states: list[Any], reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """data [sum of sizes, I], the states [B, H] or None -> all outputs [sum of sizes, H], last hidden and cell states.

    `layer(x, h0, c0)` gives the outputs [T, B, H] and the last cell state [B, H], from the last step on if `reverse`.
    """
    blocks, begin = [], 0
    for size, steps in groupby(sizes):
        count = len(list(steps))
        blocks.append((begin, count, size))
        begin += count * size
    outputs: list[Tensor] = []
    h, c = (None if state is None else state.clone() for state in states)
    for begin, count, size in reversed(blocks) if reverse else blocks:
        x = data[begin : begin + count * size].view(count, size, -1)
        y, cell = layer(x, *(None if state is None else state[:size] for state in (h, c)))
        outputs.append(y.flatten(0, 1))
        h = _with(h, y[0 if reverse else -1], sizes[0])
        c = _with(c, cell, sizes[0])
    assert h is not None
    assert c is not None
    return torch.cat(outputs[::-1] if reverse else outputs), h, c


def _with(states: Tensor | None, first: Tensor, batch: int) -> Tensor:
    """`states`, or zeros, of the whole batch, the first ones replaced."""
    if states is None:
        states = first.new_zeros(batch, first.shape[1])
    states[: len(first)] = first
    return states
