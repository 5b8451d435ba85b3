"""The cheapest choice of precisions, as a minimum s-t cut.

The source's side runs in int8, the sink's in float; an edge u -> w is paid if u is in int8 and w in float.

    INT8 -> unit   float time           unit -> FLOAT   int8 time

    a value:   reader -> Q (infinite), Q -> producer (quantize)       Q is in int8 if any reader is
               D -> reader (infinite), producer -> D (dequantize)     D is in float if any reader is

so a conversion is paid once a value, not once an edge. Of choices that cost the same, the one with most units in int8.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

from fxquant.placement.problem import Problem, Value

INT8, FLOAT = "int8", "float"

Edge = tuple[Hashable, Hashable, float]


def cheapest(problem: Problem) -> frozenset[int]:
    """The units that run in int8 where the problem's cost is least, to within a nanosecond a summand."""
    graph: nx.DiGraph[Hashable] = nx.DiGraph()
    graph.add_nodes_from((INT8, FLOAT))
    for tail, head, seconds in _edges(problem):
        # Whole nanoseconds, so that no sum is rounded; an edge without a capacity is infinite.
        graph.add_edge(tail, head, **({} if math.isinf(seconds) else {"capacity": round(seconds * 1e9)}))
    _, (int8, _) = nx.minimum_cut(graph, INT8, FLOAT, flow_func=boykov_kolmogorov)
    return frozenset(unit for unit in int8 if isinstance(unit, int))


def _edges(problem: Problem) -> Iterator[Edge]:
    for unit, kernel in enumerate(problem.kernels):
        yield INT8, unit, kernel.float
        yield unit, FLOAT, kernel.int8
    for index, value in enumerate(problem.values):
        yield from _edges_of_value(index, value)


def _edges_of_value(index: int, value: Value) -> Iterator[Edge]:
    quantized, real = ("quantized", index), ("real", index)
    yield quantized, FLOAT if value.producer is None else value.producer, value.quantize
    if value.producer is not None:
        yield value.producer, real, value.dequantize
    for reader in value.readers:
        if reader is not None:
            yield reader, quantized, math.inf
        yield real, FLOAT if reader is None else reader, math.inf
