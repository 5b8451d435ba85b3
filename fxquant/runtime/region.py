"""A maximal part of a model that computes in int8, run natively as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph.integers import layer_of
from fxquant.kernels.matmul import HALVES
from fxquant.runtime.batches import plan_for
from fxquant.runtime.failure import complain
from fxquant.runtime.layer import Layer
from fxquant.runtime.plan import Plan
from fxquant.runtime.programs import Programs
from fxquant.runtime.tracing import NotScripted, recorded
from fxquant.runtime.watched import watched


class Int8Region(NotScripted, GraphModule):
    """A graph of int8 layers between float values, or between integers that no native kernel handles.

    Called with tensors, it runs a program that was planned for their layout. Called while something watches the ops (a
    tracer, a dispatch mode), or with what is no plain CPU tensor, it runs its graph node by node. Both give the same
    integers. torch.fx's symbolic tracer records it as one call.
    """

    node_by_node: Callable[..., Any]
    programs: Programs

    def recompile(self) -> Any:
        """Regenerates the code of the graph, as `node_by_node`."""
        code = super().recompile()
        kind: Any = type(self)
        kind.node_by_node, kind.forward = kind.forward, run
        del kind.__call__  # GraphModule's, which takes time to look for errors in generated code
        self.programs = Programs()
        return code

    def plan(self, *inputs: Tensor) -> Plan:
        """The program for inputs of this layout, as a call would make it.

        Raises InputError if the inputs do not fit the layers, naming the layer.
        """
        try:
            return plan_for(self, inputs)
        except Exception:
            self.node_by_node(*inputs)  # layers know best what is wrong, and where
            raise

    def has_program(self, inputs: Sequence[Tensor]) -> bool:
        """Whether programs are made for inputs of these dtypes and sizes."""
        if any(x.numel() == 0 for x in inputs):
            return False
        if not any(x.dtype in HALVES for x in inputs):
            return True
        return all(layer.takes_halves for layer in self.modules() if isinstance(layer, Layer))

    def with_wide_masks(self, inputs: Sequence[Tensor]) -> list[Tensor] | None:
        """`inputs` with masks of 16-bit floats as float32, if a program takes them then; else None."""
        names = [node for node in self.graph.nodes if node.op == "placeholder"]
        halves = [x.dtype in HALVES and are_masks(self, node) for node, x in zip(names, inputs, strict=False)]
        wide = [x.float() if half else x for x, half in zip(inputs, halves, strict=False)]
        return wide if any(halves) and self.has_program(wide) else None

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """The layers' state under their own names: where regions begin and end does not show in a saved model."""
        return super().state_dict(*args, prefix=outer_prefix(prefix), **kwargs)

    def __copy__(self) -> Int8Region:
        return _region(self)

    def __reduce__(self) -> Any:
        rebuild, arguments = super().__reduce__()
        return _rebuild, (rebuild, arguments)


def are_masks(gm: GraphModule, node: Node) -> bool:
    """Whether layers read `node`, as it is or moved, for a mask alone."""
    return all(_reads_mask(gm, user, node) for user in node.users)


def _reads_mask(gm: GraphModule, user: Node, node: Node) -> bool:
    layer = layer_of(gm, user)
    if layer is None:
        return user.op == "call_function" and are_masks(gm, user)
    return all(name == "mask" for name, x in zip(layer.inputs, user.args, strict=False) if x is node)


def outer_prefix(prefix: str) -> str:
    """The prefix of the parent of what "a.b." is the prefix of: "a."."""
    return prefix[: prefix.rstrip(".").rfind(".") + 1]


def _rebuild(rebuild: Callable[..., GraphModule], arguments: tuple[Any, ...]) -> Int8Region:
    return _region(rebuild(*arguments))


def _region(gm: GraphModule) -> Int8Region:
    return Int8Region(gm, gm.graph, Int8Region.__name__)


def run(self: Int8Region, *inputs: Any) -> Any:
    """What calling a region does."""
    # Every call pays for every line of this.
    if watched():
        return self.node_by_node(*inputs)
    key: Any = torch.get_num_threads()
    for x in inputs:
        if type(x) is not Tensor or not x.is_cpu or x.is_neg():
            call = recorded(self, inputs)
            return self.node_by_node(*inputs) if call is None else call
        key = (key, x.shape, x.stride(), x.dtype)
    plan = self.programs.plans.get(key)
    if plan is None:
        if not self.has_program(inputs):
            wide = self.with_wide_masks(inputs)
            return self.node_by_node(*inputs) if wide is None else run(self, *wide)
        plan = self.programs.make(key, lambda: self.plan(*inputs))
    try:
        return plan.run(inputs)
    except IndexError as error:  # of a program that gathers
        complain(self, error, inputs, {})
        raise
