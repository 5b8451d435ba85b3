"""The graph after each pass, as files that `diff` reads: what FXQUANT_SNAPSHOTS=folder asks for."""

from __future__ import annotations

from pathlib import Path

from torch.fx import GraphModule

from fxquant.drawing.describe import drawing_of
from fxquant.drawing.draw import write


def keep(gm: GraphModule, name: str, folder: Path) -> None:
    """Writes folder/NNN_name.json, unless the graph is as in the last snapshot there.

    Raises ConfigError if the folder cannot be written.
    """
    earlier = sorted(folder.glob("[0-9][0-9][0-9]*_*.json"))
    text = drawing_of(gm).to_json()
    if not earlier or earlier[-1].read_text(encoding="utf-8") != text:
        write(folder / f"{len(earlier):03d}_{name}.json", text.encode())
