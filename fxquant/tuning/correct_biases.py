"""b -> b - mean(y_int8 - y_float), per output channel: what rounding adds to a layer's mean is taken off its bias.

Rounding a weight moves every sum that it is part of to the same side, and the layers behind carry the mean error on.
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721), section
4.2 and appendix D: the empirical form, with measured activations, one layer after the other.

Where relu or a clamp follows, the means behind it are made equal: what it cuts off is not an error, and would spoil the
mean in front of it. That equation is solved by Newton's method; its slope is the fraction of elements in the bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.plugin import (
    Layer,
    arguments_of,
    changing,
    fetch,
    is_private,
    layers_in_lockstep,
    name_of,
    op_of,
    set_bias,
    set_parameter,
    typed,
)

Prepared = TypeVar("Prepared", bound=nn.Module)

_NEWTON_STEPS = 4
_SATURATIONS = {"relu": (0.0, None), "clamp": (None, None)}


@typed
def correct_biases(prepared: Prepared, data: Iterable[Any]) -> Prepared:
    """Corrects the biases of the int8 layers of a calibrated model of prepare_fx, in place, and returns it.

    `data`: batches as for calibrate, without labels; those of the calibration do. A layer without a bias gets one. Two
    runs are kept for each batch, with the values that later layers read: memory grows with the data.

    Raises ConfigError if `prepared` is not one graph of prepare_fx, CalibrationError if its observers or `data` saw
    nothing, and InputError if a batch does not fit.
    """
    with changing(prepared, "correct_biases", calibrated=True) as gm:
        _add_biases(gm)
        for layer in layers_in_lockstep(gm, data):
            _correct(gm, layer)
    return prepared


def _correct(gm: GraphModule, layer: Layer) -> None:
    bias = arguments_of(layer.prepared).get("bias")
    if bias is None or not is_private(gm, layer.prepared, "bias"):
        return
    axis = -1 if name_of(layer.prepared) == "linear" else 1
    expected = [_by_channel(y, axis) for y in layer.expected]
    computed = [_by_channel(y, axis) for y in layer.computed]
    shift = mean_shift(torch.cat(expected, 1), torch.cat(computed, 1), *_bounds(layer.prepared))
    set_parameter(gm, str(bias.target), fetch(gm, bias) + shift)
    for run in layer.runs:
        y = run.env[layer.reference]
        run.env[layer.reference] = y + shift.reshape([-1 if d == axis % y.dim() else 1 for d in range(y.dim())])


def mean_shift(expected: Tensor, computed: Tensor, low: float | None, high: float | None) -> Tensor:
    """What to add to each row of `computed` for the mean of `expected` behind a clamp; both [channels, N]."""
    bounds = -torch.inf if low is None else low, torch.inf if high is None else high
    wanted = expected.clamp(*bounds).mean(1)
    within = (expected > bounds[0]) & (expected < bounds[1])
    shift = torch.zeros_like(wanted)
    for _ in range(_NEWTON_STEPS):
        value = computed + shift[:, None]
        live = (within | ((value > bounds[0]) & (value < bounds[1]))).to(value.dtype).mean(1)
        missing = wanted - value.clamp(*bounds).mean(1)
        shift += torch.where(live > 0, missing / live.clamp(min=torch.finfo(live.dtype).tiny), 0)
    return shift


def _bounds(layer: Node) -> tuple[float | None, float | None]:
    """What follows of saturation, if all that reads the layer is one relu or clamp."""
    reading = list(layer.users)
    if len(reading) != 1 or name_of(reading[0]) not in _SATURATIONS:
        return None, None
    given = arguments_of(reading[0])
    low, high = _SATURATIONS[name_of(reading[0])]
    return given.get("min", low), given.get("max", high)


def _by_channel(y: Tensor, axis: int) -> Tensor:
    return y.movedim(axis, 0).flatten(1)


def _add_biases(gm: GraphModule) -> None:
    """A bias of zeros for each layer that could have one and has none."""
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None or not row.bias or not row.weight or row.bind(node)[row.bias] is not None:
            continue
        weight = row.bind(node)[row.weight]
        if any(n.op == "get_attr" for n in (weight, *weight.all_input_nodes)):
            set_bias(gm, node, row, lambda zeros: zeros)
    gm.recompile()
