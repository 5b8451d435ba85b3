"""The graph after each pass, as files that `diff` reads: what FXQUANT_SNAPSHOTS=folder asks for."""

from __future__ import annotations

from pathlib import Path

from torch.fx import GraphModule, Node

from fxquant.drawing.describe import drawing_of
from fxquant.drawing.draw import write
from fxquant.drawing.values import is_observer
from fxquant.graph.surgery import absorbed_origins

_KEPT: dict[Path, str] = {}  # by folder, the fingerprint of the graph that was written last


def keep(gm: GraphModule, name: str, folder: Path) -> None:
    """Writes folder/NNN_name.json, unless the graph is the one that was written there before.

    Raises PathError if the folder cannot be written.
    """
    fingerprint = "\n".join(_line(gm, node) for node in gm.graph.nodes)  # far cheaper than a drawing
    if _KEPT.get(folder) != fingerprint:
        number = len(list(folder.glob("[0-9][0-9][0-9]*_*.json")))
        write(folder / f"{number:03d}_{name}.json", drawing_of(gm).to_json().encode())
        _KEPT[folder] = fingerprint


def _line(gm: GraphModule, node: Node) -> str:
    """What a drawing shows of a node and a pass or calibration may change."""
    module = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
    seen = module.extra_repr() if module is not None and is_observer(module) else ""
    noted = node.meta.get("quant"), node.meta.get("qparams"), absorbed_origins(node)
    return f"{node.name} {node.op} {node.target} {node.args} {node.kwargs} {noted} {seen}"
