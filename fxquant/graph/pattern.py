"""Patterns: code as it stands in a graph, whose arguments are wildcards, and the ways in which it fits.

    def pattern(self, x, k=scalar(lambda k: k == 1)): return ops.mul(x, k)
    def pattern(self, q, *xs): return ops.quantize(ops.cat(tuple(ops.dequantize(x, q) for x in xs), 1), q)

A wildcard stands for a node or a constant; one that occurs twice, for equal things. Its default says what else must
hold of it. `*xs` stands for one value or more: the code with one x is what every element of the sequence looks like.
The first two activations of a commutative op may stand in either order. A node that was annotated to stay float fits
nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.fx import Graph, GraphModule, Node, Proxy
from torch.fx.proxy import GraphAppendingTracer

from fxquant.graph import surgery
from fxquant.graph.annotation import stays_float
from fxquant.ops.op import SPELLINGS, Op, op_of


@dataclass(frozen=True)
class Where:
    """The default of a wildcard: what it may stand for."""

    accepts: Callable[[GraphModule, Any], bool]


def parameter(test: Callable[[Tensor], bool] | None = None) -> Any:
    """A wildcard for a parameter or buffer; `test` is given its tensor."""

    def accepts(gm: GraphModule, value: Any) -> bool:
        fetched = isinstance(value, Node) and value.op == "get_attr"
        return fetched and (test is None or bool(test(surgery.fetch(gm, value))))

    return Where(accepts)


def scalar(test: Callable[[Any], bool] | None = None) -> Any:
    """A wildcard for a number; `test` is given it."""

    def accepts(_: GraphModule, value: Any) -> bool:
        return isinstance(value, (bool, int, float)) and (test is None or bool(test(value)))

    return Where(accepts)


def computed(test: Callable[[Node], bool] | None = None) -> Any:
    """A wildcard for what the graph computes or takes, not for parameters; `test` is given its node."""

    def accepts(_: GraphModule, value: Any) -> bool:
        return isinstance(value, Node) and value.op != "get_attr" and (test is None or bool(test(value)))

    return Where(accepts)


@dataclass(frozen=True)
class Fit:
    """What the wildcards stand for, which node each one of the pattern is, and all nodes that are part of it."""

    bindings: dict[str, Any] = field(default_factory=dict)
    places: dict[Node, Node] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()

    def placed(self, pattern: Node, node: Node) -> Fit:
        """With `node` in the place of `pattern`."""
        return replace(self, places={**self.places, pattern: node}, nodes=(*self.nodes, node))

    def bound(self, name: str, value: Any) -> Fit:
        """With `value` for a wildcard."""
        return replace(self, bindings={**self.bindings, name: value})

    def without(self, name: str, patterns: set[Node]) -> Fit:
        """The wildcard and these nodes of the pattern stand for nothing any more."""
        bindings = {key: value for key, value in self.bindings.items() if key != name}
        return replace(self, bindings=bindings, places={n: at for n, at in self.places.items() if n not in patterns})


class Pattern:
    """A pattern, recorded as a small graph whose `roots` are the nodes that its values come from."""

    def __init__(self, code: Callable[..., Any], owner: str) -> None:
        graph = Graph()
        tracer = GraphAppendingTracer(graph)
        parameters = inspect.signature(code).parameters
        wildcards = {name: Proxy(graph.placeholder(name), tracer) for name in parameters}
        result = call(code, {name: (w,) if _is_many(parameters[name]) else w for name, w in wildcards.items()})
        results = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(each, Proxy) and each.node.op != "placeholder" for each in results):
            raise TypeError(f"the pattern of {owner} returns {result!r}, not what ops compute")
        self.roots: tuple[Node, ...] = tuple(each.node for each in results)
        self.names = tuple(parameters)
        self.where = {name: p.default for name, p in parameters.items() if isinstance(p.default, Where)}
        self.many = next((name for name, p in parameters.items() if _is_many(p)), "")
        self.each = _repeated(graph, wildcards[self.many].node) if self.many else set()
        if self.many and not self.each:
            raise TypeError(f"the pattern of {owner} has no sequence with *{self.many}, as ops.cat({self.many}, 1)")
        for node in graph.nodes:
            _check_vocabulary(node, owner)

    def fits(self, gm: GraphModule, node: Node) -> Iterator[Fit]:
        """Every way in which the pattern fits, its first value being that of `node`."""
        for fit in self._fit(gm, self.roots[0], node, Fit()):
            yield from self._others(gm, self.roots[1:], fit)

    def _others(self, gm: GraphModule, roots: Sequence[Node], fit: Fit) -> Iterator[Fit]:
        """The same for further values, each of another node."""
        if not roots:
            yield fit
            return
        placed = fit.places.get(roots[0])
        for node in [placed] if placed is not None else [n for n in gm.graph.nodes if n not in fit.nodes]:
            for more in self._fit(gm, roots[0], node, fit):
                yield from self._others(gm, roots[1:], more)

    def _fit(self, gm: GraphModule, wanted: Any, value: Any, fit: Fit) -> Iterator[Fit]:
        if isinstance(wanted, Node) and wanted.op == "placeholder":
            yield from self._bind(gm, str(wanted.target), value, fit)
        elif isinstance(wanted, Node):
            if isinstance(value, Node):
                yield from self._fit_node(gm, wanted, value, fit)
        elif isinstance(wanted, (tuple, list)):
            if isinstance(value, (tuple, list)):
                yield from self._fit_sequence(gm, wanted, value, fit)
        elif wanted == value:
            yield fit

    def _bind(self, gm: GraphModule, name: str, value: Any, fit: Fit) -> Iterator[Fit]:
        if name in fit.bindings:
            if fit.bindings[name] == value:
                yield fit
        elif name not in self.where or self.where[name].accepts(gm, value):
            yield fit.bound(name, value)

    def _fit_node(self, gm: GraphModule, wanted: Node, node: Node, fit: Fit) -> Iterator[Fit]:
        if wanted in fit.places:
            if fit.places[wanted] is node:
                yield fit
            return
        if (wanted.op, wanted.target) != (node.op, node.target) or stays_float(node):
            return
        row = op_of(node)
        theirs, ours = _arguments(row, wanted), _arguments(row, node)
        if theirs.keys() != ours.keys():
            return
        for order in _orders(row, list(ours)):
            given = [ours[name] for name in order]
            yield from self._fit_all(gm, list(theirs.values()), given, fit.placed(wanted, node))

    def _fit_all(self, gm: GraphModule, wanted: Sequence[Any], values: Sequence[Any], fit: Fit) -> Iterator[Fit]:
        if not wanted:
            yield fit
            return
        for first in self._fit(gm, wanted[0], values[0], fit):
            yield from self._fit_all(gm, wanted[1:], values[1:], first)

    def _fit_sequence(self, gm: GraphModule, wanted: Sequence[Any], values: Sequence[Any], fit: Fit) -> Iterator[Fit]:
        at = next((i for i, each in enumerate(wanted) if isinstance(each, Node) and each in self.each), None)
        if at is None:
            if len(wanted) == len(values):
                yield from self._fit_all(gm, wanted, values, fit)
            return
        end = len(values) - (len(wanted) - at - 1)
        if end <= at:
            return
        fixed, rest = [*wanted[:at], *wanted[at + 1 :]], [*values[:at], *values[end:]]
        for outer in self._fit_all(gm, fixed, rest, fit):
            yield from self._fit_each(gm, wanted[at], values[at:end], (), outer)

    def _fit_each(
        self, gm: GraphModule, wanted: Node, values: Sequence[Any], found: tuple[Any, ...], fit: Fit
    ) -> Iterator[Fit]:
        """Each of `values` looks like `wanted`, whose `*xs` stands for another thing each time."""
        if not values:
            yield fit.bound(self.many, found)
            return
        for one in self._fit(gm, wanted, values[0], fit):
            next_one = one.without(self.many, self.each)
            yield from self._fit_each(gm, wanted, values[1:], (*found, one.bindings[self.many]), next_one)


def call(code: Callable[..., Any], bindings: dict[str, Any], *first: Any) -> Any:
    """Calls `code` with `first` and those of the wildcards that it names, `*xs` with all that it stands for."""
    args, kwargs = list(first), {}
    parameters = dict(list(inspect.signature(code).parameters.items())[len(first) :])
    for p in parameters.values():
        if p.kind is p.VAR_KEYWORD:
            kwargs.update({name: value for name, value in bindings.items() if name not in parameters})
        elif _is_many(p):
            args.extend(bindings[p.name])
        elif p.kind is p.KEYWORD_ONLY:
            kwargs[p.name] = bindings[p.name]
        else:
            args.append(bindings[p.name])
    return code(*args, **kwargs)


def _is_many(p: inspect.Parameter) -> bool:
    return p.kind is p.VAR_POSITIONAL


def _repeated(graph: Graph, many: Node) -> set[Node]:
    """What the first sequence with a value made of `many` repeats for each: that value, and what it is made of."""
    for node in graph.nodes:
        for sequence in (each for each in node.args if isinstance(each, (tuple, list))):
            for item in sequence:
                if isinstance(item, Node) and many in (found := _made_of(item)):
                    return {each for each in found if many in _made_of(each)}
    return set()


def _made_of(node: Node) -> set[Node]:
    found, waiting = set(), [node]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(each.all_input_nodes)
    return found


def _check_vocabulary(node: Node, owner: str) -> None:
    """Raises TypeError for what normalize turns into something else, so that it would fit nothing."""
    if node.op in ("call_function", "call_method") and op_of(node) is None and node.target in SPELLINGS:
        name = getattr(node.target, "__name__", node.target)
        raise TypeError(f"the pattern of {owner} calls {name}, which normalize makes into ops; write what is in ops")


def _arguments(row: Op | None, node: Node) -> dict[str, Any]:
    if row is not None:
        return row.bind(node)
    return {**{str(i): value for i, value in enumerate(node.args)}, **node.kwargs}


def _orders(row: Op | None, names: list[str]) -> list[list[str]]:
    if row is None or not row.commutative:
        return [names]
    a, b = row.activations[:2]
    swap = {a: b, b: a}
    return [names, [swap.get(name, name) for name in names]]
