"""What data make of each channel of a value: a number for each example and channel, such as its largest magnitude."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxquant.calibrate import bound_batch, check_data, in_order
from fxquant.errors import CalibrationError
from fxquant.observer import ObserverBase

# Of [examples, channels, elements] something for each channel of each example: [examples, channels, ...].
Statistic = Callable[[Tensor], Tensor]


def largest(x: Tensor) -> Tensor:
    """The largest magnitude of each channel."""
    return x.abs().amax(2)


def by_channel(
    gm: GraphModule, data: Iterable[Any], axes: Mapping[Node, int], statistic: Statistic = largest
) -> dict[Node, Tensor]:
    """The `statistic` of the values of these nodes, [examples, channels, ...], by the dimension of the channels.

    The first dimension of a value is that of the examples. `data`: batches as for calibrate; nothing is observed.
    Raises CalibrationError if it holds none, InputError if one does not fit.
    """
    check_data(data)
    signature, runner, index = inspect.signature(gm.forward), _Measuring(gm, axes, statistic), -1
    for index, batch in enumerate(data):
        args, kwargs = bound_batch(signature, batch, f"batch {index}")
        runner.run(*in_order(signature, args, kwargs))
    if index < 0:
        raise CalibrationError("data holds no batches; an iterator may be used up already")
    return {node: torch.cat(found) for node, found in runner.found.items()}


class _Measuring(Interpreter):
    def __init__(self, gm: GraphModule, axes: Mapping[Node, int], statistic: Statistic) -> None:
        super().__init__(gm)
        self.axes, self.statistic = axes, statistic
        self.found: dict[Node, list[Tensor]] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self.axes:
            by_example = value.movedim(self.axes[n], 1).flatten(2) if value.dim() > 2 else value[..., None]
            self.found.setdefault(n, []).append(self.statistic(by_example))
        return value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        observing = isinstance(self.fetch_attr(target), ObserverBase)
        return args[0] if observing else super().call_module(target, args, kwargs)
