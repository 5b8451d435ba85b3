"""Rules and rewrites: the only matcher.

A rule is the code that one would have written before, the code that computes the same better, and a check between:

    class Cancel(Rule):
        def pattern(self, x, q): return ops.quantize(ops.dequantize(x, q), q)
        def rewrite(self, m, x, q): return x

or, where there is nothing to check, rule(lambda x: ops.relu(ops.relu(x)), lambda x: ops.relu(x)). What patterns can
say: fxquant/graph/pattern.py. A pattern that returns several values, all used outside, has a rewrite that returns as
many.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node, Proxy
from torch.fx.proxy import GraphAppendingTracer

from fxquant.arguments import typed
from fxquant.graph import surgery
from fxquant.graph.level import note_refusal
from fxquant.graph.pattern import Fit, Pattern, call
from fxquant.graph.weights import readers_of
from fxquant.ops.op import op_name


class Refusal(Exception):
    """Raised by `Match.refuse`: the rule does not apply here, and why."""


@dataclass
class Match:
    """One place where a pattern fits: what the wildcards stand for, each an attribute.

    `root`: the node of the pattern's value; of the first one, if there are several. `roots`: those of all. `nodes`: all
    that fit.
    """

    gm: GraphModule
    root: Node
    bindings: dict[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    roots: tuple[Node, ...] = ()

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
        return self._value(surgery.constant(self.gm, self._path(name), tensor, self.root))

    def changed(self, parameter: Any, tensor: Tensor) -> Any:
        """A parameter with the values `tensor`, in place of one that a wildcard matched.

        It keeps its name, in the state_dict too, unless others read the old one: then it is a new one.
        """
        node = parameter.node if isinstance(parameter, Proxy) else parameter
        self.fetch(node)  # refuses what is computed
        alone = readers_of(self.gm, node) == 1
        return self._value(surgery.parameter(self.gm, str(node.target), tensor, self.root, replacing=alone))

    def _path(self, name: str) -> str:
        path = next((o.local_path for n in sorted(self.nodes) for o in surgery.absorbed_origins(n) if o.local_path), "")
        return f"{path}.{name}" if path else name

    def _value(self, node: Node) -> Any:
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
    pattern must be used by the pattern alone, or rewriting would compute it twice. `rewrite` is given the match and
    those wildcards that it names.
    """

    shared: tuple[str, ...] = ("dequantize",)

    pattern: Callable[..., Any]
    rewrite: Callable[..., Any]

    @property
    def name(self) -> str:
        """What a refusal calls it."""
        return type(self).__name__

    @cached_property
    def recorded(self) -> Pattern:
        """Its pattern. Recording takes longer than most graphs take to match, so rules are best made once."""
        pattern = Pattern(self.pattern, self.name)
        _check_names(self, pattern)
        return pattern

    def check(self, m: Match) -> None:
        """Calls m.refuse(reason) where the rule does not hold."""


class _OneLine(Rule):
    def __init__(self, before: Callable[..., Any], after: Callable[..., Any]) -> None:
        self.pattern = before
        self.after = after

    @property
    def name(self) -> str:
        code = self.after.__code__
        return f"the rule at {code.co_filename}:{code.co_firstlineno}"

    def rewrite(self, m: Match, **wildcards: Any) -> Any:
        return call(self.after, wildcards)


def rule(before: Callable[..., Any], after: Callable[..., Any]) -> Rule:
    """The rule that `after` computes what `before` does; `after` names those of its wildcards that it needs."""
    return _OneLine(before, after)


@typed
def apply_rules(gm: GraphModule, rules: Sequence[Rule]) -> GraphModule:
    """Rewrites until no rule matches anywhere, and returns `gm`, cleaned if any did.

    Raises TypeError for a pattern that fits nothing, and for a rewrite that does not return what the pattern does.
    """
    compiled = [(each, each.recorded) for each in rules]
    rewritten = 0
    while changes := sum(_apply_first(gm, node, compiled) for node in list(gm.graph.nodes)):
        rewritten += changes
    return surgery.clean(gm) if rewritten else gm


def _check_names(each: Rule, pattern: Pattern) -> None:
    code, given = (each.after, 0) if isinstance(each, _OneLine) else (each.rewrite, 1)
    asked = list(inspect.signature(code).parameters.values())[given:]
    unknown = [p.name for p in asked if p.kind is not p.VAR_KEYWORD and p.name not in pattern.names]
    if unknown:
        known = ", ".join(pattern.names)
        raise TypeError(f"the rewrite of {each.name} asks for {unknown[0]}; the wildcards of its pattern are {known}")


def _apply_first(gm: GraphModule, node: Node, compiled: Iterable[tuple[Rule, Pattern]]) -> bool:
    for each, pattern in compiled:
        if node.op == "output" or node._erased:
            continue
        for fit in pattern.fits(gm, node):
            roots = tuple(fit.places[root] for root in pattern.roots)
            if not _is_private(each, gm, fit, roots):
                continue
            try:
                m = Match(gm, node, fit.bindings, list(fit.nodes), roots)
                each.check(m)
                _rewrite(each, m)
            except Refusal as reason:
                note_refusal(each.name, node, str(reason))
                continue
            return True
    return False


def _is_private(each: Rule, gm: GraphModule, fit: Fit, roots: tuple[Node, ...]) -> bool:
    """Whether nothing outside needs what is within."""
    free = {node for node in fit.nodes if node in roots or op_name(gm, node) in each.shared}
    return all(node in free or node.users.keys() <= set(fit.nodes) for node in fit.nodes)


def _rewrite(each: Rule, m: Match) -> None:
    if len(m.roots) > 1 and surgery.depends(m.bindings, m.roots):
        m.refuse("one of its inputs is computed from one of its outputs")
    sources = sorted(m.nodes)
    build: Callable[..., Any] = lambda **bindings: call(each.rewrite, bindings, m)  # noqa: E731
    new = surgery.emit(max(m.roots), build, sources=sources, **m.bindings)
    values = new if len(m.roots) > 1 else (new,)
    if not isinstance(values, tuple) or [type(value) for value in values] != [Node] * len(m.roots):
        wanted = f"a tuple of {len(m.roots)} graph values" if len(m.roots) > 1 else "a graph value"
        raise TypeError(f"the rewrite of {each.name} returns {new!r}, not {wanted}, as its pattern does")
    for root, value in zip(m.roots, values, strict=True):
        surgery.replace(root, value)
        surgery.move_behind(value)
    surgery.erase_unused(sources)  # or they would count as users of what is left
