"""Lets a unit run in float where int8 does not pay on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from networkx.utils import UnionFind
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import decide
from fxquant.graph.shapes import asks_shape
from fxquant.graph.watching import is_watcher, readers_of
from fxquant.ops.op import op_of
from fxquant.placement.cut import cheapest
from fxquant.placement.estimate import Conversion, Estimate
from fxquant.placement.measure import Costs
from fxquant.placement.problem import FIXED_INT8, Kernel, Problem, Value
from fxquant.placement.units import Unit, units_of

# Float must be this much faster: a measurement is good to some percent, and int8 needs less memory.
MARGIN = 0.1


def place(gm: GraphModule, costs: Costs, move: bool = True) -> GraphModule:
    """Annotates units of a prepared graph as float where that costs less; with `move` off, only with the estimates.

    Modifies and returns `gm`.
    """
    units = units_of(gm)
    kernels = [costs.kernel(gm, unit) for unit in units]
    for unit, kernel in zip(units, kernels, strict=True):
        if kernel is not None:
            unit[0].meta["estimates"] = (Estimate(unit[0].name, kernel.int8, kernel.float),)
    values = tuple(_values(gm, units, costs))
    if not move:
        return gm
    problem = Problem(tuple(kernel or FIXED_INT8 for kernel in kernels), values)
    to_float = set(range(len(units))) - cheapest(_with_margin(problem))
    for region in _regions(problem, to_float):
        reason = _reason(problem, to_float, region)
        for index in region:
            run_in_float(units[index], reason)
    return surgery.clean(gm)


def _values(gm: GraphModule, units: list[Unit], costs: Costs) -> Iterator[Value]:
    """The tensors that a unit hands to another, or that go between a unit and what is float anyway.

    A parameter is quantized at conversion, and costs nothing.
    """
    unit_of = {node: index for index, unit in enumerate(units) for node in unit}
    for node in gm.graph.nodes:
        if node.op == "get_attr" or is_watcher(node) or node.meta.get("dtype") is not torch.float32:
            continue
        producer = unit_of.get(node)
        readers = frozenset(unit_of.get(reader) for reader in readers_of(node) if not asks_shape(reader))
        if readers - {producer}:
            conversion = Conversion(costs.quantize(node.meta["shape"]), costs.dequantize(node.meta["shape"]))
            node.meta["conversion"] = conversion
            yield Value(producer, readers, conversion.quantize, conversion.dequantize)


def _with_margin(problem: Problem) -> Problem:
    kernels = (Kernel(kernel.int8, kernel.float * (1 + MARGIN)) for kernel in problem.kernels)
    return replace(problem, kernels=tuple(kernels))


def _regions(problem: Problem, to_float: set[int]) -> list[set[int]]:
    """`to_float` in parts that share no value, so that each part pays on its own."""
    joined: UnionFind[int] = UnionFind(to_float)
    for value in problem.values:
        members = [unit for unit in (value.producer, *value.readers) if unit in to_float]
        if members:
            joined.union(*members)
    return list(joined.to_sets())


def _reason(problem: Problem, to_float: set[int], region: set[int]) -> str:
    int8 = set(range(len(problem.kernels))) - to_float
    configured, placed = problem.seconds(int8 | region, of=region), problem.seconds(int8, of=region)
    return f"float is faster here: {placed * 1e6:.1f} us against {configured * 1e6:.1f} us, conversions included"


def run_in_float(unit: Unit, reason: str) -> None:
    """Decides that the nodes of `unit`, in a prepared graph, stay float."""
    for node in unit:
        decide(node, int8=False, absorbed_by="", reason=reason)
        row = op_of(node)
        for role in () if row is None else row.weights:
            observed: Node = row.bind(node)[role]  # type: ignore[union-attr]
            surgery.replace_in(observed.all_input_nodes[0], observed, [node])
