"""What a drawing shows, as plain data: nodes, the boxes around them, the values that flow between them.

    Drawing = boxes (the user's module tree) + nodes (each in one box) + edges (each labelled with a value)

It holds no tensors and no fx nodes, so it can be kept beside a model that passes go on to change, written to a file
and compared later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fxquant.errors import FileError
from fxquant.paths import reaching

FORMAT = "fxquant drawing 1"

# What a node's value is: the key of its colour.
KINDS: dict[str, str] = {
    "int8": "computed in int8",
    "planned": "float now, int8 after conversion",
    "float": "computed in float",
    "observer": "observer",
    "number": "indices, sizes and options",
    "border": "input or output",
}


@dataclass(frozen=True)
class Value:
    """What a node gives; "" and None where it is not known. `note`: of qparams that are no two numbers."""

    shape: str = ""
    dtype: str = ""
    scale: float | None = None
    zero_point: int | float | None = None
    note: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The label of an edge: shape and dtype, scale and zero point."""
        tensor = " ".join(filter(None, (self.shape, self.dtype)))
        qparams = self.note if self.scale is None else f"scale {self.scale:.4g}, zero point {self.zero_point:.4g}"
        return tuple(filter(None, (tensor, qparams)))


@dataclass(frozen=True)
class Weight:
    """A tensor that belongs to a node."""

    name: str
    shape: str
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Histogram:
    """How often values between `low` and `high` came up, in bins of one width, for what `of` names."""

    of: str
    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class DrawnNode:
    """One node.

    `op`: what it calls, in one word. `place`: its module in the user's model. `box`: the path of the box that it
    stands in, "" for none. `absorbed`: the calls of the user's model that it computes, in order. `source` and `code`:
    the user's line. `reason`: why it is float. `bytes` of its value. `change` of a diff: added, removed or changed;
    `before`: what a changed node was.
    """

    name: str
    op: str
    kind: str
    value: Value = Value()
    place: str = ""
    box: str = ""
    absorbed: tuple[str, ...] = ()
    source: str = ""
    code: str = ""
    reason: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    statistics: str = ""
    weights: tuple[Weight, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    bytes: int = 0
    change: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A value on its way from one node to a reader. Only the first edge of a value is `labelled`."""

    tail: str
    head: str
    labelled: bool = True
    change: str = ""


@dataclass(frozen=True)
class Box:
    """A module of the user's, around the nodes of its forward. `parent`: the path of the box around it, or ""."""

    path: str
    parent: str = ""


@dataclass(frozen=True)
class Drawing:
    """All that is drawn. `boxes`: parents first. `nodes`: in running order."""

    title: str
    nodes: tuple[DrawnNode, ...]
    edges: tuple[Edge, ...]
    boxes: tuple[Box, ...] = ()

    def to_json(self) -> str:
        """The drawing as text that `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @staticmethod
    def from_json(text: str) -> Drawing:
        """Raises FileError for text that `to_json` did not write."""
        try:
            read = json.loads(text)
            if read.pop("format") != FORMAT:
                raise FileError(f"not a drawing that this fxquant can read: its format is not {FORMAT!r}")
            nodes = tuple(_node(row) for row in read["nodes"])
            return Drawing(read["title"], nodes, _rows(Edge, read["edges"]), _rows(Box, read["boxes"]))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"not a drawing: {type(error).__name__}: {error}") from error

    @staticmethod
    def load(path: str | Path) -> Drawing:
        """The drawing that `draw(model, "name.json")` or FXQUANT_SNAPSHOTS wrote.

        Raises FileError for another file, PathError for one that cannot be read.
        """
        with reaching(path, "read") as file:
            content = file.read_bytes()
        try:
            return Drawing.from_json(content.decode())
        except UnicodeDecodeError as error:
            raise FileError(f"{path} is not a drawing: {error}") from error

    def _repr_html_(self) -> str:
        from fxquant.drawing.page import notebook_html

        return notebook_html(self)


def _rows(kind: Any, rows: Iterable[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(kind(**row) for row in rows)


def _node(row: Mapping[str, Any]) -> DrawnNode:
    changed = {
        "value": Value(**row["value"]),
        "absorbed": tuple(row["absorbed"]),
        "before": tuple(row["before"]),
        "weights": _rows(Weight, row["weights"]),
        "histograms": tuple(Histogram(**{**h, "counts": tuple(h["counts"])}) for h in row["histograms"]),
    }
    return DrawnNode(**{**row, **changed})
