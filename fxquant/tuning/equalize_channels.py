"""conv_b(f(conv_a(x)))   ->   conv_b'(f(conv_a'(x)))      a' = s * a, b' = b / s per channel, f(s * y) = s * f(y)

Channels that use little of their tensor's range share its scale with those that need all of it; each is stretched
towards the largest. Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.1, with ranges r of measured activations instead of weights, which have a scale each.
Values that are added share their s, so a residual stream is stretched as one.

    s = (max r / r)^e     e = 1/2 before depthwise layers, whose weights take any s without loss, and 1/4 before others

A channel counts as a sixteenth of the largest at least. clamp(y, 0, 6) stays as it is, and cuts a stretched channel at
6 / s: beyond 1.5 times its largest value on `data`, and beyond where other examples may `reach`. So on `data` the float
model computes the same, and before a clamp a channel that is dead there, but may not be elsewhere, keeps s = 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from networkx.utils import UnionFind
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.observer import QScheme
from fxquant.plugin import (
    allowed,
    arguments_of,
    behind,
    by_channel,
    changing,
    is_depthwise,
    is_private,
    name_of,
    note_rescaling,
    parameter_of,
    readers,
    scale,
    typed,
    where,
)

Prepared = TypeVar("Prepared", bound=nn.Module)

_DEPTHWISE, _DENSE, _ROOM, _LEAST = 0.5, 0.25, 1.5, 1 / 16


@typed
def equalize_channels(prepared: Prepared, data: Iterable[Any]) -> Prepared:
    """Equalizes the channels between the 2-d convolutions of a model of prepare_fx, in place, and returns it.

    `data`: batches as for calibrate. Observers forget what they saw: calibrate afterwards. A value that anything but
    convolutions, additions, relu and clamps from 0 reads or computes is left as it is, and so are shared weights: the
    reason is in meta["refusals"] of its node, and printed under fxquant.debug(3).

    Warns with ConfigWarning if nothing at all could be stretched. Raises ConfigError if `prepared` is not one graph of
    prepare_fx, CalibrationError if `data` holds no batches, and InputError if a batch does not fit.
    """
    with changing(prepared, "equalize_channels") as gm:
        groups = {max(group.members): group for group in _groups(gm)}
        images = {n: 1 for group in groups.values() for n in group.members if len(n.meta.get("shape") or ()) == 4}
        peaks = by_channel(gm, data, images)
        limits = {last: _limit(gm, group, peaks) for last, group in groups.items()}
        for last in allowed(limits, "equalize_channels", "stretch any channel"):
            _stretch(gm, groups[last], peaks)
    return prepared


@dataclass(frozen=True)
class _Group:
    """Values that must be stretched alike, the convolutions among them, and those that read them."""

    members: list[Node]
    layers: list[Node]
    readers: list[Node]


def _groups(gm: GraphModule) -> list[_Group]:
    """Alike are values that are added, and what a saturation reads and gives."""
    alike: UnionFind[Node] = UnionFind()
    for node in gm.graph.nodes:
        if name_of(node) == "conv2d":
            alike[node]
        elif name_of(node) in ("add", "relu", "clamp"):
            alike.union(node, *(behind(gm, x) for x in node.all_input_nodes))
    return [_group(gm, list(members)) for members in alike.to_sets()]


def _group(gm: GraphModule, members: list[Node]) -> _Group:
    layers = [n for n in members if name_of(n) == "conv2d"]
    reading = {r: None for n in members for r in readers(gm, n) if r not in members or name_of(r) == "conv2d"}
    return _Group(members, layers, list(reading))


def _limit(gm: GraphModule, group: _Group, peaks: dict[Node, Tensor]) -> str | None:
    """Why these values cannot be stretched, or None."""
    for n in group.members:
        if name_of(n) not in ("conv2d", "relu", "clamp", "add"):
            return f"{where(n)} is part of the sum, and not a convolution's"
        if name_of(n) == "add" and len(n.all_input_nodes) != 2:
            return f"{where(n)} adds a number, or a value to itself"
        if name_of(n) == "clamp" and arguments_of(n)["min"] != 0:
            return f"{where(n)} does not clamp from 0"
        if n not in peaks:
            return f"{where(n)} gives no images"
    if len({peaks[n].shape[1] for n in group.members}) > 1:
        return "values of several numbers of channels are added"
    for n in group.readers:
        if name_of(n) != "conv2d":
            return "it is an output of the model" if n.op == "output" else f"{where(n)} reads it, and is no convolution"
        if not (_depthwise(gm, n) or arguments_of(n)["groups"] == 1):
            return f"{where(n)} reads it in groups"
    for n in group.layers:
        if _one_scale(gm, n):
            return (
                f"{where(n)} has one scale for its weight, of which stretched channels would leave little to the others"
            )
    shared = [n for n in group.layers + group.readers if not is_private(gm, n, "weight", "bias")]
    return f"the weight or bias of {where(shared[0])} is shared or computed" if shared else None


def _one_scale(gm: GraphModule, layer: Node) -> bool:
    weight = arguments_of(layer)["weight"]
    observer = gm.get_submodule(str(weight.target)) if weight.op == "call_module" else None
    qscheme = getattr(observer, "qscheme", None)
    return qscheme is not None and not QScheme.of(qscheme).per_channel


def _depthwise(gm: GraphModule, layer: Node) -> bool:
    weight = behind(gm, arguments_of(layer)["weight"])
    return weight.op == "get_attr" and is_depthwise(parameter_of(gm, layer, "weight"), arguments_of(layer))


def _stretch(gm: GraphModule, group: _Group, peaks: dict[Node, Tensor]) -> None:
    kept = [n for n in group.members if not any(name_of(r) in ("relu", "clamp") for r in readers(gm, n))]
    of_examples = torch.stack([peaks[n] for n in kept]).amax(0)
    r, beyond = of_examples.amax(0), reach(of_examples)
    top = r.max().clamp(min=torch.finfo(r.dtype).tiny)
    s = (top / r.clamp(min=top * _LEAST)) ** (_DEPTHWISE if all(_depthwise(gm, n) for n in group.readers) else _DENSE)
    for bound in (arguments_of(n)["max"] for n in group.members if name_of(n) == "clamp"):
        if bound is not None:
            s = s.minimum(bound / beyond.maximum(_ROOM * r))
    s = s.clamp(min=1)
    for n in group.members:
        note_rescaling(n, 1, s)
    for n in group.layers:
        scale(gm, n, "weight", s[:, None, None, None])
        scale(gm, n, "bias", s)
    for n in group.readers:
        scale(gm, n, "weight", 1 / (s[:, None, None, None] if _depthwise(gm, n) else s[None, :, None, None]))


def reach(peaks: Tensor) -> Tensor:
    """How far other examples may reach, where those at hand have the largest values `peaks`, [examples, channels].

    Beyond their largest by the square of the factor that it exceeds their mean by; infinitely far where all are 0. A
    rule of thumb: channels that few of twenty photographs had reached saturated relu6 on others.
    """
    largest = peaks.amax(0)
    return torch.where(largest > 0, largest * (largest / peaks.mean(0)) ** 2, torch.inf)
