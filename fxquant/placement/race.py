"""The last word on a placement: what the estimates chose against what was configured, both run whole."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule

from fxquant.graph.interface import inputs_of
from fxquant.placement.measure import Costs
from fxquant.placement.place import place
from fxquant.placement.stand_in import stand_in
from fxquant.placement.timing import least_seconds
from fxquant.runtime.quantized_module import QuantizedModule

Finish = Callable[[GraphModule], QuantizedModule]


def fastest(prepared: GraphModule, costs: Costs, finish: Finish) -> QuantizedModule:
    """`prepared`, placed and finished; or as it was configured, if that turns out to be faster.

    The two run in turns on tensors of the example's shapes. The estimates decide where an input's shape is unknown, or
    where a model does not take such numbers.
    """
    placed = finish(place(copy.deepcopy(prepared), costs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever there is to say has been said
        configured = finish(place(copy.deepcopy(prepared), costs, move=False))
    if _precisions(placed) == _precisions(configured):
        return configured
    inputs = _example(prepared)
    if inputs is None:
        return placed
    with torch.inference_mode():
        try:
            configured(*inputs)
        except Exception:  # whatever a model's own code raises
            return placed
        of_placed, of_configured = least_seconds([partial(model, *inputs) for model in (placed, configured)])
    return placed if of_placed < of_configured else configured


def _precisions(model: QuantizedModule) -> list[str]:
    return [row.precision for row in model.meta["explanation"]]


def _example(prepared: GraphModule) -> list[Any] | None:
    """Stand-ins for the tensors that go in, options as they were fixed; None if an input is neither."""
    values: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        for node in inputs_of(prepared):
            if node.meta.get("shape") is not None:
                values.append(stand_in(node))
            elif node.args:
                values.append(node.args[0])
            else:
                return None
    return values
