"""Patterns and rewrites: the only matcher.

A rule is the code that one would have written before, the code that computes the same better, and a check between:

    class Cancel(Rule):
        def pattern(self, x, q): return ops.quantize(ops.dequantize(x, q), q)
        def rewrite(self, m, x, q): return x

The pattern's argument names are the wildcards. A wildcard matches a node or a constant; one that occurs twice matches
equal things. A node that was annotated to stay float matches no pattern.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.fx import Graph, GraphModule, Node, Proxy
from torch.fx.proxy import GraphAppendingTracer

from fxquant.graph import surgery
from fxquant.graph.annotation import stays_float
from fxquant.graph.pipeline import debug_level
from fxquant.ops.op import op_of


class Refusal(Exception):
    """Raised by `Match.refuse`: the rule does not apply here, and why."""


@dataclass
class Match:
    """One place where a pattern fits: what the wildcards stand for."""

    gm: GraphModule
    root: Node
    bindings: dict[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["bindings"][name]
        except KeyError:
            raise AttributeError(f"the pattern has no wildcard {name!r}") from None

    def refuse(self, reason: str) -> None:
        """Leaves the graph as it is here, for `reason`."""
        raise Refusal(reason)

    def constant(self, name: str, tensor: Tensor) -> Any:
        """A new buffer, named after the match's place in the user's model, as a value for `rewrite`."""
        path = next(
            (o.module_path for n in sorted(self.nodes) for o in surgery.absorbed_origins(n) if o.module_path), ""
        )
        node = surgery.constant(self.gm, f"{path}.{name}" if path else name, tensor, self.root)
        return Proxy(node, GraphAppendingTracer(self.gm.graph))

    def fetch(self, value: Any) -> Tensor:
        """The tensor behind a wildcard that matched a parameter or buffer; refuses anything else."""
        node = value.node if isinstance(value, Proxy) else value
        if not isinstance(node, Node) or node.op != "get_attr":
            raise Refusal(f"{node} is computed, not a parameter or buffer")
        return surgery.fetch(self.gm, node)


class Rule:
    """Override `pattern` and `rewrite`, and `check` to refuse.

    `shared`: names of ops that the pattern may look through although others use them too. Everything else inside the
    pattern must be used by the pattern alone, or rewriting would compute it twice.
    """

    shared: tuple[str, ...] = ("dequantize",)
    commutative: tuple[str, ...] = ("add", "mul")

    pattern: Callable[..., Any]
    rewrite: Callable[..., Any]

    def check(self, m: Match) -> None:
        """Calls m.refuse(reason) where the rule does not hold."""


def apply_rules(gm: GraphModule, rules: Sequence[Rule]) -> GraphModule:
    """Rewrites until no rule matches anywhere, and returns `gm`, cleaned if any did."""
    compiled = [(rule, _compile(rule)) for rule in rules]
    refused: set[tuple[Node, Rule]] = set()
    rewritten = 0
    while changes := sum(_apply_first(gm, node, compiled, refused) for node in list(gm.graph.nodes)):
        rewritten += changes
    return surgery.clean(gm) if rewritten else gm


def _apply_first(
    gm: GraphModule, node: Node, compiled: Iterable[tuple[Rule, Node]], refused: set[tuple[Node, Rule]]
) -> bool:
    for rule, pattern in compiled:
        if (node, rule) in refused or node.op == "output" or node._erased:
            continue
        m = Match(gm, node)
        if not _matches(rule, pattern, node, m):
            continue
        try:
            rule.check(m)
            _rewrite(rule, m)
        except Refusal as reason:
            refused.add((node, rule))
            _note_refusal(rule, node, str(reason))
            continue
        return True
    return False


def _rewrite(rule: Rule, m: Match) -> None:
    sources = sorted(m.nodes)
    new = surgery.emit(m.root, lambda **bindings: rule.rewrite(m, **bindings), sources=sources, **m.bindings)
    surgery.replace(m.root, new)
    surgery.erase_unused(sources)  # or they would count as users of what is left


def _note_refusal(rule: Rule, node: Node, reason: str) -> None:
    node.meta.setdefault("refusals", []).append(f"{type(rule).__name__}: {reason}")
    if debug_level() >= 3:
        print(f"{type(rule).__name__} refuses {node.name}: {reason}", file=sys.stderr)


def _compile(rule: Rule) -> Node:
    """The pattern as a small graph; returns the node that its value comes from."""
    graph = Graph()
    tracer = GraphAppendingTracer(graph)
    names = list(inspect.signature(rule.pattern).parameters)
    wildcards = [Proxy(graph.placeholder(name), tracer) for name in names]
    result = rule.pattern(*wildcards)
    if not isinstance(result, Proxy):
        raise TypeError(f"the pattern of {type(rule).__name__} returns {result!r}, not the value of an op")
    return result.node


def _matches(rule: Rule, pattern: Any, value: Any, m: Match) -> bool:
    """Whether `value` has the form `pattern`; fills m.bindings and m.nodes."""
    if isinstance(pattern, Node) and pattern.op == "placeholder":
        return _bind(str(pattern.target), value, m)
    if isinstance(pattern, Node):
        return isinstance(value, Node) and _matches_node(rule, pattern, value, m)
    if isinstance(pattern, (tuple, list)):
        return (
            isinstance(value, (tuple, list))
            and len(pattern) == len(value)
            and all(_matches(rule, p, v, m) for p, v in zip(pattern, value, strict=True))
        )
    return bool(pattern == value)


def _bind(name: str, value: Any, m: Match) -> bool:
    if name in m.bindings:
        return bool(m.bindings[name] == value)
    m.bindings[name] = value
    return True


def _matches_node(rule: Rule, pattern: Node, node: Node, m: Match) -> bool:
    row, wanted = op_of(node), op_of(pattern)
    if row is None or row is not wanted or stays_float(node) or not _may_look_through(rule, row.name, node, m):
        return False
    m.nodes.append(node)
    theirs, ours = row.bind(pattern), row.bind(node)
    orders = [list(ours)]
    if row.name in rule.commutative:
        orders.append([row.activations[1], row.activations[0], *list(ours)[2:]])
    for order in orders:
        attempt = Match(m.gm, m.root, dict(m.bindings), list(m.nodes))
        if all(_matches(rule, theirs[mine], ours[name], attempt) for mine, name in zip(ours, order, strict=True)):
            m.bindings, m.nodes = attempt.bindings, attempt.nodes
            return True
    return False


def _may_look_through(rule: Rule, name: str, node: Node, m: Match) -> bool:
    return node is m.root or name in rule.shared or len(node.users) == 1
