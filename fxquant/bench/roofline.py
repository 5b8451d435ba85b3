"""How near each node of the int8 model is to what the machine can do.

A node cannot be faster than its multiply-adds at the machine's peak, nor than its bytes at the bandwidth of a copy of
as many bytes. The longer of these two times is its limit; its share is that time over the measured one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.fx import GraphModule, Node

from fxquant.bench.case import Case
from fxquant.bench.contestants.fxquant_int8 import quantize
from fxquant.bench.nodes import Work, node_times, node_work
from fxquant.bench.timing import burst, spread
from fxquant.graph.origin import origin_of
from fxquant.kernels.roofline import copy_bandwidth, peak_multiply_adds

COMPUTE, MEMORY = "compute", "memory"


@dataclass(frozen=True)
class Row:
    """One node: its seconds, its work, what limits it ("" if nothing that was measured) and the share of that."""

    node: str
    op: str
    place: str
    seconds: float
    multiply_adds: int
    bytes: int
    limit: str
    share: float | None


@dataclass(frozen=True)
class Roofline:
    """The rows of a model in running order, the seconds of a plain call of it, and the peak they are held against."""

    model: str
    rows: list[Row]
    seconds: float
    peak: float

    @property
    def multiply_adds(self) -> int:
        """Of the whole model."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def share(self) -> float:
        """Of the machine's peak, for the whole model."""
        return self.multiply_adds / self.peak / self.seconds


def roofline(case: Case) -> Roofline:
    """Converts the case's model and measures it in so many threads of this process."""
    quantized = quantize(case)
    assert isinstance(quantized, GraphModule)
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        return _measure(case, quantized)
    finally:
        torch.set_num_threads(before)


def limit_of(work: Work, peak: float, bandwidth: Callable[[int], float]) -> tuple[str, float]:
    """What limits a node, and the least seconds that it can take; "" and 0 where that is unknown.

    `peak`: integer multiply-adds a second. `bandwidth`: bytes a second, given how many.
    """
    if work.multiply_adds and not work.integer:
        return "", 0.0
    computing = work.multiply_adds / peak
    moving = work.bytes / bandwidth(work.bytes) if work.bytes else 0.0
    if not computing and not moving:
        return "", 0.0
    return (COMPUTE, computing) if computing >= moving else (MEMORY, moving)


def _measure(case: Case, quantized: GraphModule) -> Roofline:
    work = node_work(quantized, case.inputs)
    peak = peak_multiply_adds(case.threads)
    bandwidth = _bandwidth(case.threads)

    def row(node: Node, seconds: float) -> Row:
        limit, least = limit_of(work[node], peak, bandwidth)
        origin = origin_of(node)
        return Row(
            node=node.name,
            op=work[node].op,
            place=origin.module_path if origin else "",
            seconds=seconds,
            multiply_adds=work[node].multiply_adds,
            bytes=work[node].bytes,
            limit=limit,
            share=least / seconds if limit else None,
        )

    rows = [row(node, seconds) for node, seconds in node_times(quantized, case.inputs)]
    with torch.inference_mode():
        whole = spread(burst(lambda: quantized(*case.inputs), 1.0)).median
    return Roofline(case.name, rows, whole, peak)


def _bandwidth(threads: int) -> Callable[[int], float]:
    """Bytes a second of a copy of so many bytes, measured once for each power of two."""
    measured = cache(lambda size: copy_bandwidth(size, threads))
    return lambda size: measured(max(1 << 12, 1 << (size - 1).bit_length()))
