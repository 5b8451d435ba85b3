"""Runs passes in order, times them, verifies and shows what they did: the one place between two passes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from fxquant.graph import surgery
from fxquant.graph.blame import Blame
from fxquant.graph.level import debug_level
from fxquant.graph.look import Look
from fxquant.graph.parts import is_part, map_parts
from fxquant.graph.registry import Pass, register_pass
from fxquant.graph.selection import Selection, passes_of
from fxquant.graph.verify import verify

__all__ = ["debug_level", "passes_of", "register_pass", "run_part", "run_stage", "snapshot"]


def run_stage(model: Any, stage: str, selection: Selection | None = None) -> Any:
    """Runs the passes of `stage` on `model`, then checks that the graph is what the stage promises.

    Of a model whose own code runs as Python, on each of its parts. `selection`: the passes of this call, if not those
    of any. Returns the model that came about.
    """
    if isinstance(model, GraphModule) and not is_part(model):
        return run_part(model, stage, selection)
    return map_parts(model, lambda part: run_part(part, stage, selection))


def run_part(gm: GraphModule, stage: str, selection: Selection | None = None) -> GraphModule:
    """Runs `stage` on one graph, whatever parts the modules that it calls may hold."""
    blame = Blame(stage)
    for each in passes_of(stage) if selection is None else selection[stage]:
        gm = _run(gm, each, blame)
    gm.recompile()
    blame.settle(gm)
    if debug_level() >= 1:
        verify(gm, stage)
    if debug_level() >= 4:
        print(f"== after {stage}\n{gm.graph}", file=sys.stderr)
    return gm


def _run(gm: GraphModule, each: Pass, blame: Blame) -> GraphModule:
    level = debug_level()
    before = Look.at(gm) if level >= 2 else None
    snapshot(gm, f"before_{each.name}")
    if each.builtin:  # which reads graphs only; plug-ins may run them
        with surgery.recompiled_later():
            gm = blame.run(gm, each) if level >= 1 else blame.run_unwatched(gm, each)
    else:
        gm.recompile()
        gm = blame.run(gm, each)
    if level >= 1:
        print(f"{each.stage:>10} {each.name:<32} {blame.seconds * 1e3:8.2f} ms", file=sys.stderr)
    if before is not None:
        print(before.diff(Look.at(gm), each.name), file=sys.stderr)
    snapshot(gm, f"{each.stage}_{each.name}")
    return gm


def snapshot(gm: GraphModule, name: str) -> None:
    """Keeps the drawing of `gm` in the folder FXQUANT_SNAPSHOTS, if that is set and the drawing is a new one."""
    folder = os.environ.get("FXQUANT_SNAPSHOTS")
    if folder:
        from fxquant.drawing.snapshots import keep  # which imports every stage

        keep(gm, name, Path(folder))
