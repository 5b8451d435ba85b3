"""Numbers per node, as colours: where time goes, where memory goes, where precision is lost.

memory   bytes of a node's value and of its weights           known of every drawing
time     seconds, the median of several runs of the model     measured
others   what a comparison or any mapping from node names says
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.calibrate import bound_batch, in_order
from fxquant.drawing.model import Drawing
from fxquant.drawing.style import HEAT
from fxquant.errors import ConfigError
from fxquant.graph.kept import meta_of

# What is known of some metrics: the unit, whether low is hot, and what `compare` calls it. Others are hot where high.
METRICS = {
    "time": ("us", False, ""),
    "memory": ("kB", False, ""),
    "sqnr": ("dB", True, "sqnr_db"),
    "sqnr alone": ("dB", True, "alone_db"),
    "sqnr of weight": ("dB", True, "weight_db"),
    "cosine": ("", True, "cosine"),
    "max error": ("", False, "max_error"),
    "saturated": ("", False, "saturated"),
}
SUMS = ("time", "memory")  # which of a box are those of its nodes, added up; of others the hottest counts
ROUNDS = 10


@dataclass(frozen=True)
class Heat:
    """`values` by name of the drawn node."""

    metric: str
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        return METRICS.get(self.metric, ("", False, ""))[0]

    @property
    def low_is_hot(self) -> bool:
        return METRICS.get(self.metric, ("", False, ""))[1]

    @property
    def sums(self) -> bool:
        return self.metric in SUMS

    @property
    def bounds(self) -> tuple[float, float]:
        """The values of the coolest and the hottest colour."""
        finite = [v for v in self.values.values() if abs(v) < float("inf")] or [0.0]
        low, high = (0.0 if self.sums else min(finite)), max(finite)
        return (high, low) if self.low_is_hot else (low, high)

    def color(self, name: str) -> str:
        """One of HEAT; of a node without a number, that of a blank. Sums by their square root, so small ones differ."""
        if name not in self.values:
            return "#f4f4f4"
        cool, hot = self.bounds
        share = 0.0 if cool == hot else (self.values[name] - cool) / (hot - cool)
        share = min(max(share, 0.0), 1.0)
        return HEAT[round((share**0.5 if self.sums else share) * (len(HEAT) - 1))]

    def text(self, name: str) -> str:
        return f"{self.metric} {self.values[name]:.4g} {self.unit}".rstrip()


def heats_of(model: object, drawing: Drawing, names: Mapping[Node, str], heat: Any, inputs: Any) -> list[Heat]:
    """The metrics of a drawing: what the caller's `heat` asks for first, memory in any case.

    `heat`: "time", "memory", a mapping from node names to numbers, what `compare` returned, or a list of these.
    Raises ConfigError for anything else, and for names that the drawing has not.
    """
    asked = heat if isinstance(heat, (list, tuple)) else [] if heat is None else [heat]
    found = [each for one in asked for each in _heats(model, drawing, names, one, inputs)]
    return found if any(each.metric == "memory" for each in found) else [*found, memory(drawing)]


def _heats(model: object, drawing: Drawing, names: Mapping[Node, str], heat: Any, inputs: Any) -> Iterable[Heat]:
    if heat == "memory":
        return [memory(drawing)]
    if heat == "time":
        return [Heat("time", _times(model, names, inputs))]
    if isinstance(heat, Mapping):
        return [Heat("heat", _known(drawing, heat))]
    if hasattr(heat, "to_dict"):
        return _of_rows(drawing, heat.to_dict())
    raise ConfigError(
        f"heat={heat!r}: pass 'time', 'memory', a mapping from node names to numbers, or what fxquant.compare "
        "returned, for SQNR"
    )


def memory(drawing: Drawing) -> Heat:
    """Of each node the kB of its value, as for the example inputs, and of its weights."""
    values = {node.name: (node.bytes + sum(w.bytes for w in node.weights)) / 1e3 for node in drawing.nodes}
    return Heat("memory", {name: kilobytes for name, kilobytes in values.items() if kilobytes})


def _times(model: object, names: Mapping[Node, str], inputs: Any) -> dict[str, float]:
    from fxquant.bench.nodes import node_times

    if not isinstance(model, GraphModule):
        raise ConfigError(f"heat='time' runs one graph, which a {type(model).__name__} is not")
    signature = inspect.signature(model.forward)
    args, kwargs = bound_batch(signature, _examples(model, signature) if inputs is None else inputs, "inputs")
    times = node_times(model, tuple(in_order(signature, args, kwargs)), ROUNDS)
    return {names[node]: seconds * 1e6 for node, seconds in times if node in names}


def _examples(model: GraphModule, signature: inspect.Signature) -> dict[str, Any]:
    """Random inputs of the shapes that the model was prepared with, by name; what was no tensor has its default."""
    described = dict(zip(signature.parameters, meta_of(model).get("inputs", ()), strict=False))
    tensors = {name: each for name, each in described.items() if each[1] is not None}
    needed = {name for name, each in signature.parameters.items() if each.default is each.empty}
    if not tensors or needed - tensors.keys() or any(not dtype.is_floating_point for _, dtype in tensors.values()):
        raise ConfigError("heat='time' runs the model: pass inputs=, a tuple or a dict of its arguments")
    return {name: torch.randn(shape, dtype=dtype) for name, (shape, dtype) in tensors.items()}


def _known(drawing: Drawing, values: Mapping[str, float]) -> dict[str, float]:
    names = {node.name for node in drawing.nodes}
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ConfigError(f"heat names {', '.join(map(repr, unknown[:3]))}: no such node; names are as {min(names)!r}")
    return {name: float(value) for name, value in values.items()}


def _of_rows(drawing: Drawing, rows: Iterable[Mapping[str, Any]]) -> list[Heat]:
    """A Heat for each number that `compare` knows of nodes of this drawing."""
    names = {node.name for node in drawing.nodes}
    ours = [row for row in rows if row["node"] in names]
    if not ours:
        raise ConfigError("heat: the comparison is of another model: it names no node of this one")
    found = [Heat(m, {row["node"]: row[f] for row in ours if _is_number(row.get(f))}) for m, (*_, f) in METRICS.items()]
    return [heat for heat in found if heat.values]


def _is_number(value: object) -> bool:
    return isinstance(value, float) and value == value
