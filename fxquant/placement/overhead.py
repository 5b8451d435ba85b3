"""What int8 costs beside arithmetic: entering a region of int8 kernels, and each kernel in it.

    time(model of n small linears) - time(model of nothing) = region + n * kernel

fitted to two such models, run as `convert_fx` makes them: so it holds for however the runtime runs a region.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.fx import GraphModule

from fxquant.graph.selection import passes_of
from fxquant.graph.trace import trace
from fxquant.placement.timing import least_seconds
from fxquant.qconfig_mapping import get_default_qconfig_mapping

FEW, MANY, FEATURES = 1, 17, 16
# Everything depends on this one fit, so it takes longer than other measurements.
TURNS, SECONDS = 1000, 0.1


class Overhead(NamedTuple):
    """Seconds of one entry into a region and the way out, and of one kernel in it, whatever these compute."""

    region: float
    kernel: float


def measured_overhead() -> Overhead:
    """The fit on this machine. A linear of 16 features counts as no arithmetic."""
    x = torch.randn(1, FEATURES)
    nothing, few, many = least_seconds([partial(_quantized(n, x), x) for n in (0, FEW, MANY)], TURNS, SECONDS)
    kernel = max((many - few) / (MANY - FEW), 0.0)
    return Overhead(max(few - nothing - FEW * kernel, 0.0), kernel)


def _quantized(linears: int, x: torch.Tensor) -> GraphModule:
    model = nn.Sequential(*(nn.Linear(FEATURES, FEATURES) for _ in range(linears))).eval()
    gm = trace(model, (x,))
    gm.meta["qconfig_mapping"] = get_default_qconfig_mapping()
    prepared = run_passes(gm, ("normalize", "fuse", "annotate", "observe"))
    prepared(x)
    return run_passes(prepared, ("convert", "fold", "lower", "plan"))


def run_passes(gm: GraphModule, stages: Sequence[str]) -> GraphModule:
    """As `run_stage` for each stage, but FXQUANT_DEBUG shows nothing of it: it is not the user's model."""
    for stage in stages:
        for each in passes_of(stage):
            gm = each.run(gm)
    return gm
