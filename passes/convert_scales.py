"""s = max|w| / 127   ->   s = max|w| / n,  n in 107 ... 127, of least sum |w - dequantize(quantize(w; s))|^2

where a scale has few weights. A step that is up to a fifth larger loses little, and at some step most of a few weights
lie close to codes: of 9 of a normal distribution the error is 3.1 dB less, of 32 1.2 dB, of 512 0.2 dB (of more it is
not searched for). For a smaller step, and few bits: observer/clipping.py. What training has settled, and any observer
but min-max ones, keeps its scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxquant import qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.watching import is_statistic
from fxquant.observer import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)
from fxquant.qparams import QParams

from .convert_weights import FITTED, learned

_OBSERVERS = (
    *(MinMaxObserver, MovingAverageMinMaxObserver),
    *(PerChannelMinMaxObserver, MovingAveragePerChannelMinMaxObserver),
)
LONGEST = 512  # weights of one scale
_SHORTEST, _TRIES = 107 / 127, 61  # the part of the codes that the largest weight reaches, at least


@register_pass(stage="convert")
def convert_scales(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        if node.op != "call_module" or is_statistic(node):
            continue
        observer: Any = gm.get_submodule(str(node.target))
        if type(observer) in _OBSERVERS and node.all_input_nodes[0].op == "get_attr":
            real, q = learned(gm, node)
            if observer.qscheme.symmetric and real.is_floating_point() and 0 < real.numel() <= LONGEST * _scales(q):
                node.meta[FITTED] = fitted(real, q)
    return gm


def _scales(q: QParams) -> int:
    return q.scale.numel() if isinstance(q.scale, Tensor) else 1


def fitted(real: Tensor, q: QParams) -> QParams:
    """`q` with the scale, or the scales along its axis, at which the weight `real` loses least."""
    best, least = q.scale, _loss(real, q)
    for part in torch.linspace(1.0, _SHORTEST, _TRIES).tolist()[1:]:
        scale = q.scale / part
        loss = _loss(real, q._replace(scale=scale))
        if isinstance(scale, Tensor):
            best = torch.where((loss < least).reshape(scale.shape), scale, best)
        elif bool(loss < least):
            best = qparams.float32(scale)
        least = torch.minimum(least, loss)
    return q._replace(scale=best)


def _loss(real: Tensor, q: QParams) -> Tensor:
    """The sum of squared errors, float64: for each scale, or a single one."""
    squares = (real.double() - qparams.dequantize(qparams.quantize(real, q), q).double()).square()
    return squares.sum() if q.axis is None else squares.movedim(q.axis, 0).flatten(1).sum(1)
