"""layer_b(f(layer_a(x)))   ->   layer_b'(f(layer_a'(x)))      b_a' = b_a - c, b_b' = b_b + w_b c, f(y) - c = f(y - c)

A channel that is hardly ever near 0 behind a relu takes a part of the range that no other needs. Of its values c can go
into the bias of the layer that reads it. Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction" (arXiv:1906.04721), section 4.1.3, with measured activations:

    c = max(0, mean(y) - 3 std(y))      y what layer_a gives, in front of f

So of a normal distribution 0.13 % are cut off. clamp(y, 0, 6) would cut at 6 + c what it cut at 6: a channel that comes
near to 6 keeps c = 0. Zeros of padding would have to become -c: a layer that pads absorbs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.plugin import (
    allowed,
    arguments_of,
    by_channel,
    changing,
    is_private,
    mean_of_products,
    name_of,
    note_rescaling,
    op_of,
    parameter_of,
    readers,
    set_bias,
    typed,
    where,
)

Prepared = TypeVar("Prepared", bound=nn.Module)

_CHANNELS = {"linear": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}  # which dimension of the result they are
_DEVIATIONS, _ROOM = 3.0, 1.5


@typed
def absorb_biases(prepared: Prepared, data: Iterable[Any]) -> Prepared:
    """Lets layers absorb what is always there in the values that they read, in place, and returns the model.

    `prepared`: a model of prepare_fx, better after equalize_channels. `data`: batches as for calibrate. Observers
    forget what they saw: calibrate afterwards. Where a layer's bias is left as it is, the reason is in
    meta["refusals"] of its node, and printed under fxquant.debug(3).

    Warns with ConfigWarning if that is so of all. Raises ConfigError if `prepared` is not one graph of prepare_fx,
    CalibrationError if `data` holds no batches, and InputError if a batch does not fit.
    """
    with changing(prepared, "absorb_biases") as gm:
        limits = {node: _limit(gm, node) for node in gm.graph.nodes if name_of(node) in _CHANNELS}
        moments = by_channel(gm, data, {node: _CHANNELS[name_of(node)] for node in limits}, _moments)
        for layer in allowed(limits, "absorb_biases", "absorb any bias"):
            _absorb(gm, layer, moments[layer])
    return prepared


def _limit(gm: GraphModule, layer: Node) -> str | None:
    """Why nothing of what this layer gives can be absorbed, or None."""
    reading = readers(gm, layer)
    if len(reading) != 1 or name_of(reading[0]) not in ("relu", "clamp"):
        return f"{where(layer)} is not followed by a relu alone"
    if name_of(reading[0]) == "clamp" and arguments_of(reading[0])["min"] != 0:
        return f"{where(reading[0])} does not clamp from 0"
    for reader in readers(gm, reading[0]):
        if name_of(reader) not in _CHANNELS:
            return "it is an output of the model" if reader.op == "output" else f"{where(reader)} reads it"
        if any(_padding(reader)):
            return f"{where(reader)} pads it with zeros"
    shared = [n for n in (layer, *readers(gm, reading[0])) if not is_private(gm, n, "weight", "bias")]
    return f"the weight or bias of {where(shared[0])} is shared or computed" if shared else None


def _padding(layer: Node) -> tuple[Any, ...]:
    padding = arguments_of(layer).get("padding", ())
    return tuple(padding) if isinstance(padding, (tuple, list)) else (padding,)


def _moments(x: Tensor) -> Tensor:
    """Mean, mean square and largest value: [examples, channels, 3]."""
    return torch.stack([x.mean(2), x.square().mean(2), x.amax(2)], 2)


def _absorb(gm: GraphModule, layer: Node, moments: Tensor) -> None:
    mean, square = moments[..., :2].mean(0).unbind(1)
    c = (mean - _DEVIATIONS * (square - mean**2).clamp(min=0).sqrt()).clamp(min=0)
    saturation = readers(gm, layer)[0]
    bound = arguments_of(saturation).get("max")
    if bound is not None:
        c = torch.where(_ROOM * moments[..., 2].amax(0) < bound, c, 0)
    if not c.any():
        return
    _shift(gm, layer, -c)
    for node in (layer, saturation):
        note_rescaling(node, _CHANNELS[name_of(layer)], shift=-c)
    for reader in dict.fromkeys(readers(gm, saturation)):
        weight = parameter_of(gm, reader, "weight")
        _shift(gm, reader, mean_of_products(weight, c, arguments_of(reader).get("groups", 1)))


def _shift(gm: GraphModule, layer: Node, by: Tensor) -> None:
    row = op_of(layer)
    assert row is not None
    set_bias(gm, layer, row, lambda bias: bias + by)
