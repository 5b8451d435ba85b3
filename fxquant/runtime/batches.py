"""Large batches in parts that the cache holds.

    program(x)   ->   program(x[:n]); program(x[n : 2 * n]); ...

Each part reuses the arena of the one before while it is still in the cache, so that a batch takes no longer than its
examples one by one. With examples enough every thread computes parts of its own: it waits for no other one and reads
nothing that another core has written. It is right where every tensor of the graph has the examples as its first
dimension: then no example meets another one, and the results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxquant.graph import surgery
from fxquant.graph.integers import layer_of
from fxquant.kernels import _kernels
from fxquant.ops.op import op_of
from fxquant.runtime.meta import is_known
from fxquant.runtime.movement import crosses_examples
from fxquant.runtime.plan import Output, Plan
from fxquant.runtime.planner import Planner

# An arena of more than so many L2 caches of a core is worth parts. Measured on ResNet-50, batch 16 (1 MB of L2, 32 MB
# of L3): 11 % in one thread, 6 % in two.
CACHES = 8
# From so many examples a thread, each computes its own. With fewer, the weights that every core then reads by itself,
# instead of its share of them, may cost more. Measured on ResNet-50, batch 16, two threads: 10 % where the two cores
# share no cache, 1 % where they do.
EXAMPLES = 4


def plan_for(gm: GraphModule, inputs: Sequence[Tensor]) -> Plan:
    """The plan of `gm` for inputs of this layout. Raises InputError or ValueError if they do not fit."""
    threads = torch.get_num_threads()
    whole = Planner(gm, inputs, threads)
    plan = whole.plan()
    batch = max(x.shape[0] if x.dim() else 1 for x in inputs)
    workers = plan.threads if batch % plan.threads == 0 and batch >= EXAMPLES * plan.threads else 1
    fits = batch * CACHES * _kernels.cache_bytes() / max(plan.program.arena_bytes, 1)
    size = _part_size(batch // workers, fits)
    if size == batch or any(x.dim() == 0 or x.shape[0] not in (1, batch) for x in inputs):
        return plan
    try:
        part = Planner(gm, [x[:size] for x in inputs], threads // workers)
    except (RuntimeError, ValueError, IndexError):  # a graph that is right for this batch alone
        return plan
    if not _examples_apart(whole, part, batch, size):
        return plan
    part_plan = part.plan()
    if not all(map(_continues, plan.outputs, part_plan.outputs)):
        return plan
    distances = [size * x.stride(0) * x.element_size() if x.shape[0] == batch else 0 for x in inputs]
    distances += [size * y.strides[0] * y.dtype.itemsize for y in plan.outputs]
    return replace(part_plan, outputs=plan.outputs, parts=batch // size, workers=workers, distances=tuple(distances))


def _part_size(examples: int, fits: float) -> int:
    """The largest divisor of `examples` that fits, or 1."""
    return max(n for n in range(1, examples + 1) if examples % n == 0 and (n == 1 or n <= fits))


def _examples_apart(whole: Planner, part: Planner, batch: int, size: int) -> bool:
    """Whether all tensors have as many rows as there are examples, and agree in all else.

    But for constants, for what is computed of inputs with one row, which all examples share, and for what follows from
    sizes alone: that must be the same for parts, or for all examples.
    """
    shared: set[Node] = set()
    for node in filter(whole.moved.__contains__, whole.nodes):
        known = [planner.meta[node] for planner in (whole, part) if is_known(planner.meta[node])]
        if known and torch.equal(*known):
            shared.add(node)
            continue
        if _crosses(whole, node) or (known and _differs_along_rows(known[0])):
            return False
        shapes = list(zip(*(_shapes(planner, node) for planner in (whole, part)), strict=True))
        if node.op == "get_attr" or _is_shared(node, shapes, shared):
            shared.add(node)
        elif any(full[:1] != (batch,) or less[:1] != (size,) or full[1:] != less[1:] for full, less in shapes):
            return False
    return shared.isdisjoint(whole.nodes[-1].all_input_nodes)


def _is_shared(node: Node, shapes: Sequence[tuple[Any, Any]], shared: set[Node]) -> bool:
    """Whether examples share the value: an input with one row, or what comes of such."""
    same = all(full == less and full[:1] == (1,) for full, less in shapes)
    return same and shared.issuperset(surgery.tensors(node.all_input_nodes))


def _differs_along_rows(x: Tensor) -> bool:
    return x.dim() > 0 and not bool((x == x[:1]).all())


def _crosses(whole: Planner, node: Node) -> bool:
    layer, row = layer_of(whole.gm, node), op_of(node)
    inputs: Any = map_arg(node.args, whole.meta.__getitem__)
    if layer is not None:
        return layer.crosses_examples(*inputs)
    return row is not None and crosses_examples(node, row, *inputs)


def _shapes(planner: Planner, node: Node) -> list[tuple[int, ...]]:
    value = planner.meta[node]
    return [tuple(each.shape) for each in (value if isinstance(value, (tuple, list)) else [value])]


def _continues(full: Output, less: Output) -> bool:
    """Whether the results of parts, one after the other, are the result of all."""
    return full.fills_its_memory and less.fills_its_memory and full.strides == less.strides
