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
from fxquant.placement.timing import least_seconds
from fxquant.runtime.quantized_module import QuantizedModule

Finish = Callable[[GraphModule], QuantizedModule]


def fastest(prepared: GraphModule, costs: Costs, finish: Finish) -> QuantizedModule:
    """`prepared`, placed and finished; or as it was configured, if that turns out to be faster.

    The two run in turns on random numbers of the example's shapes. A model that takes other tensors than float32 is
    not run: there the estimates decide.
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
        of_placed, of_configured = least_seconds([partial(model, *inputs) for model in (placed, configured)])
    return placed if of_placed < of_configured else configured


def _precisions(model: QuantizedModule) -> list[str]:
    return [row.precision for row in model.meta["explanation"]]


def _example(prepared: GraphModule) -> list[Any] | None:
    """Random numbers for every tensor that goes in, options as they were fixed; None if one is not of float32."""
    values: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        for node in inputs_of(prepared):
            shape, dtype = node.meta.get("shape"), node.meta.get("dtype")
            if shape is not None and dtype is torch.float32:
                values.append(torch.randn(shape))
            elif shape is None and node.args:
                values.append(node.args[0])
            else:
                return None
    return values
