"""Parts of a graph as submodules with graphs of their own, and back.

y = f(g(x))  ->  y = part(x), part = f after g      extract
y = part(x)  ->  y = f(g(x))                        inline
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from fxquant import ops
from fxquant.graph import surgery

MakePart = Callable[[nn.Module, Graph], GraphModule]


def extract(gm: GraphModule, parts: Sequence[Sequence[Node]], make: MakePart, name: str) -> GraphModule:
    """Each of `parts`, nodes in the graph's order, becomes the call of a submodule `make(root, graph)` called `name`.

    Nodes keep their names and meta. Raises ValueError if a way leads from a part to itself over nodes outside of it.
    """
    return _Extraction(gm, parts, make, name).run()


class _Extraction:
    def __init__(self, gm: GraphModule, parts: Sequence[Sequence[Node]], make: MakePart, name: str) -> None:
        self.gm, self.make, self.name = gm, make, name
        self.part_of = {node: part for part in parts for node in part}
        self.graph = Graph()
        self.copies: dict[Node, Node] = {}
        self.visited: set[Node] = set()

    def run(self) -> GraphModule:
        for node in self.gm.graph.nodes:
            self._visit(node)
        self.gm.graph = self.graph
        return surgery.clean(self.gm)

    def _visit(self, node: Node) -> None:
        """Copies `node`, or the call of its part, behind all that it reads: a part may need what came later before."""
        waiting, met = [node], set()
        while waiting:
            node = waiting[-1]
            part = self.part_of.get(node)
            sources = node.all_input_nodes if part is None else _outside(part)
            missing = [source for source in sources if source not in self.visited]
            if node in self.visited or not missing:
                waiting.pop()
            if node in self.visited:
                continue
            if missing and node in met:  # all that it read was to come first
                raise ValueError(f"{node.name} depends on itself once parts are single nodes")
            met.add(node)
            waiting += missing
            if not missing:
                self._copy(node, part)

    def _copy(self, node: Node, part: Sequence[Node] | None) -> None:
        self.visited.update([node] if part is None else part)
        if part is None:
            self.copies[node] = self.graph.node_copy(node, lambda n: self.copies[n])
        else:
            self._call(part)

    def _call(self, part: Sequence[Node]) -> None:
        inside = set(part)
        inputs = [n for n in _outside(part) if n.op != "get_attr"]
        results = [n for n in part if any(user not in inside for user in n.users)]
        path = surgery.add_module(self.gm, self.name, self._module(part, inputs, results))
        call = self.graph.call_module(path, tuple(self.copies[n] for n in inputs))
        if len(results) == 1:
            self.copies[results[0]] = call
            call.meta.update({k: v for k, v in results[0].meta.items() if k not in ("origin", "absorbed")})
            return
        for i, node in enumerate(results):
            self.copies[node] = self.graph.call_function(ops.getitem, (call, i))
            self.copies[node].meta.update(node.meta)

    def _module(self, part: Sequence[Node], inputs: Sequence[Node], results: Sequence[Node]) -> GraphModule:
        graph, root = Graph(), nn.Module()
        copies = {node: graph.placeholder(node.name) for node in inputs}
        for node, placeholder in copies.items():
            placeholder.meta.update({k: node.meta[k] for k in ("shape", "dtype") if k in node.meta})
        for node in _with_constants(part):
            if node.op in ("get_attr", "call_module"):
                surgery.hand_over(self.gm, root, str(node.target))
            copies[node] = graph.node_copy(node, lambda n: copies[n])
        values = tuple(copies[n] for n in results)
        graph.output(values[0] if len(values) == 1 else values)
        return self.make(root, graph)


def _outside(part: Sequence[Node]) -> list[Node]:
    """What the nodes of a part read from elsewhere."""
    inside = set(part)
    return list(dict.fromkeys(n for node in part for n in node.all_input_nodes if n not in inside))


def _with_constants(part: Sequence[Node]) -> list[Node]:
    """The nodes of a part, each behind the attributes that it fetches."""
    found = [n for node in part for n in (*(s for s in node.all_input_nodes if s.op == "get_attr"), node)]
    return list(dict.fromkeys(found))


def inlined(gm: GraphModule, kind: type[GraphModule]) -> GraphModule:
    """A graph with the nodes of all submodules of `kind` in place of their calls. `gm` and its modules are shared."""
    return inlining(gm, kind)[0]


def inlining(gm: GraphModule, kind: type[GraphModule]) -> tuple[GraphModule, dict[Node, Node]]:
    """What `inlined` returns, and the node in it that stands for each node of `gm` and of the submodules."""
    graph = Graph()
    copies: dict[Node, Any] = {}
    originals: dict[Node, Node] = {}
    for node in gm.graph.nodes:
        module = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, kind):
            args, kwargs = map_arg((node.args, node.kwargs), lambda n: copies[n])
            copies[node] = _copy_part(graph, module, str(node.target), args, kwargs, originals)
        elif _takes_out(node) and isinstance(copies[node.args[0]], (tuple, list, dict)):
            copies[node] = copies[node.args[0]][node.args[1]]
        else:
            copies[node] = originals[node] = graph.node_copy(node, lambda n: copies[n])
    return GraphModule(gm, graph, type(gm).__name__), originals


def _takes_out(node: Node) -> bool:
    """Whether the node takes one of several values, by a constant."""
    if node.target not in (operator.getitem, ops.getitem):
        return False
    several, index = node.args
    return isinstance(several, Node) and isinstance(index, (int, str))


def _copy_part(
    graph: Graph,
    part: GraphModule,
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    originals: dict[Node, Node],
) -> Any:
    placeholders = [n for n in part.graph.nodes if n.op == "placeholder"]
    copies: dict[Node, Any] = dict(zip(placeholders, args, strict=False))
    for node in placeholders[len(args) :]:
        copies[node] = kwargs[str(node.target)] if node.target in kwargs else node.args[0]
    for node in part.graph.nodes:
        if node.op == "output":
            return map_arg(node.args[0], lambda n: copies[n])
        if node.op != "placeholder":
            copies[node] = originals[node] = graph.node_copy(node, lambda n: copies[n])
            if node.op in ("get_attr", "call_module"):
                copies[node].target = f"{path}.{node.target}"
    raise ValueError("a graph without an output")
