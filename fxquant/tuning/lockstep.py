"""Runs a prepared model and its reference model side by side on all batches, from one layer to the next.

What corrects a layer by data needs the float values that it should give and the rounded ones that reach it, with the
layers before it corrected already. Each graph runs once for that, paused at every layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxquant.calibrate import bound_batch, check_data, in_order
from fxquant.errors import CalibrationError
from fxquant.graph.annotation import quant_of
from fxquant.ops.op import op_of
from fxquant.quantize_fx import convert_to_reference_fx


class Paused(Interpreter):
    """A run of a graph on one batch that goes on from node to node."""

    def __init__(self, gm: GraphModule, inputs: list[Any]) -> None:
        super().__init__(gm)
        self.extra_traceback = False
        self.args_iter: Iterator[Any] = iter(inputs)
        self.rest = iter(gm.graph.nodes)
        self.given: dict[Node, Any] = {}

    def until(self, node: Node) -> Tensor:
        """The value of `node`, which is still to come; `given` is then what it read."""
        for each in self.rest:
            if each is node:
                self.given = {x: self.env[x] for x in node.all_input_nodes}
            self.env[each] = self.run_node(each)
            for dead in self.user_to_last_uses.get(each, ()):
                self.env.pop(dead, None)
            if each is node:
                break
        value: Tensor = self.env[node]
        return value


@dataclass(frozen=True)
class Layer:
    """An int8 layer in the prepared graph and in the reference graph, and the runs, paused behind it, of each batch."""

    prepared: Node
    reference: Node
    expected: list[Tensor]
    runs: list[Paused]

    @property
    def computed(self) -> list[Tensor]:
        """What the reference model's layer gives for each batch, as float tensors."""
        return [run.env[self.reference] for run in self.runs]


def layers_in_lockstep(prepared: GraphModule, data: Iterable[Any]) -> Iterator[Layer]:
    """Every layer with an integer weight, in running order. `data`: batches as for calibrate.

    Changes to a value of `runs` reach all later layers. Both graphs are run without gradients if the caller does.
    Raises CalibrationError if there are no batches or an observer saw none, InputError if a batch does not fit.
    """
    reference: Any = convert_to_reference_fx(prepared)
    inputs = list(_inputs(prepared, data))
    if not inputs:
        raise CalibrationError("data holds no batches; an iterator may be used up already")
    exact, rounded = ([Paused(gm, given) for given in inputs] for gm in (prepared, reference))
    for node, other in zip(_layers(prepared), _layers(reference), strict=True):
        yield Layer(node, other, [run.until(node) for run in exact], [_at(run, other) for run in rounded])


def _layers(gm: GraphModule) -> list[Node]:
    return [node for node in gm.graph.nodes if (row := op_of(node)) and row.weight and quant_of(node).int8]


def _at(run: Paused, node: Node) -> Paused:
    run.until(node)
    return run


def _inputs(prepared: GraphModule, data: Iterable[Any]) -> Iterator[list[Any]]:
    check_data(data)
    signature = inspect.signature(prepared.forward)
    for index, batch in enumerate(data):
        args, kwargs = bound_batch(signature, batch, f"batch {index}")
        yield in_order(signature, args, kwargs)
