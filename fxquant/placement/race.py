"""The last word on a placement: what the estimates chose against what was configured, both run whole."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxquant.placement.measure import Costs
from fxquant.placement.place import place
from fxquant.placement.timing import least_seconds
from fxquant.runtime.quantized_module import QuantizedModule

Finish = Callable[[GraphModule], QuantizedModule]


def fastest(prepared: GraphModule, costs: Costs, finish: Finish) -> QuantizedModule:
    """`prepared`, placed and finished; or as it was configured, if that turns out to be faster.

    The two run in turns on random numbers of the example's shapes. A model that takes anything but float32 tensors is
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


def _example(prepared: GraphModule) -> list[Tensor] | None:
    inputs = [node for node in prepared.graph.nodes if node.op == "placeholder"]
    if any(node.meta.get("dtype") is not torch.float32 for node in inputs):
        return None
    with torch.random.fork_rng(devices=[]):
        return [torch.randn(node.meta["shape"]) for node in inputs]
