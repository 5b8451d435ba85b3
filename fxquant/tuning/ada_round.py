"""q = floor(w / s) + h(v)      h: 0 or 1 for each weight, so that the layer's outputs, not its weights, come out best

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv:2004.10568): h(v) = clamp(1.2
sigmoid(v) - 0.1, 0, 1) is learned with the loss

    |(w' - w) x|^2  +  lambda * sum(1 - |2 h(v) - 1|^beta),     beta from 20 to 2, which drives each h to 0 or 1

(equations 21 to 24), one layer after the other. x are the values that reach the layer in the rounded model, and the
target is what its weights give in float for these: the errors of the layers before it are for the bias to correct. With
G = x x^T, summed over all data, |(w' - w) x|^2 = tr((w' - w) G (w' - w)^T), and its derivative by w' is 2 (w' - w) G:
an iteration is one product of matrices, however much data there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.nn import functional as F

from fxquant.plugin import (
    Layer,
    Paused,
    arguments_of,
    behind,
    changing,
    fetch,
    is_private,
    layers_in_lockstep,
    name_of,
    note_refusal,
    op_of,
    set_parameter,
    typed,
)
from fxquant.qparams import QParams, dequantize, quantize

Prepared = TypeVar("Prepared", bound=nn.Module)

_OVERSHOOT, _LAMBDA, _RATE = 0.1, 10.0, 0.1
_BETAS = (20.0, 2.0)


@typed
def ada_round(prepared: Prepared, data: Iterable[Any], iterations: int = 200) -> Prepared:
    """Learns the rounding of the weights of 2-d convolutions and linear layers; in place, and returns the model.

    `prepared`: a calibrated model of prepare_fx. `data`: batches as for calibrate, without labels; those of the
    calibration do. The weights become what their integers stand for. Terms of the loss are relative to the error of
    rounding to nearest, so that one lambda serves all layers; a layer that does not come out better than that keeps it.

    Where a layer is left as it is, the reason is in meta["refusals"] of its node, and printed under fxquant.debug(3).
    Raises ConfigError if `prepared` is not one graph of prepare_fx, CalibrationError if its observers or `data` saw
    nothing, and InputError if a batch does not fit.
    """
    with changing(prepared, "ada_round", calibrated=True) as gm:
        for layer in layers_in_lockstep(gm, data):
            limit = _round(gm, layer, iterations)
            if limit is not None:
                note_refusal("ada_round", layer.prepared, limit)
    return prepared


def _round(gm: GraphModule, layer: Layer, iterations: int) -> str | None:
    """Rounds the weight of one layer. Returns why it is left as it is, or None."""
    node = layer.prepared
    if name_of(node) not in _COLUMNS:
        return f"{name_of(node)} has no form as one matrix here"
    if not is_private(gm, node, "weight"):
        return "its weight is shared or computed"
    given = arguments_of(node)
    observer: Any = gm.get_submodule(str(given["weight"].target))
    source = behind(gm, given["weight"])
    w, q = fetch(gm, source), observer.qparams()
    if q.axis not in (None, 0):
        return "its weight has scales for groups of inputs"
    gram, number = _gram(layer)
    if number < gram.shape[-1]:
        return f"{number} inputs say too little of a matrix with {gram.shape[-1]} columns"
    rounded = _learned(w, q, gram, iterations)
    if rounded is None:
        return "rounding to nearest is as good"
    set_parameter(gm, str(source.target), rounded)
    for run in layer.runs:
        run.env[layer.reference] = _computed(layer.reference, run, weight=rounded)
    return None


def _computed(node: Node, run: Paused, **changed: Any) -> Tensor:
    """What the layer gives for what it read in `run`, with other arguments."""
    row: Any = op_of(node)
    result: Tensor = row.body(**{**_given(node, run), **changed})
    return result


def _given(node: Node, run: Paused) -> dict[str, Any]:
    """The values of the layer's arguments in `run`."""
    given: dict[str, Any] = map_arg(arguments_of(node), run.given.__getitem__)
    return given


def _linear_columns(x: Tensor, given: dict[str, Any]) -> Tensor:
    columns: Tensor = x.flatten(0, -2).T[None]
    return columns


def _conv2d_columns(x: Tensor, given: dict[str, Any]) -> Tensor:
    kernel = tuple(given["weight"].shape[2:])
    places = F.unfold(x, kernel, given["dilation"], given["padding"], given["stride"])
    columns: Tensor = places.transpose(0, 1).flatten(1).unflatten(0, (given["groups"], -1))
    return columns


# What multiplies each row of the weight, [groups, inputs of a row, places].
_COLUMNS = {"linear": _linear_columns, "conv2d": _conv2d_columns}


def _gram(layer: Layer) -> tuple[Tensor, int]:
    """G, [groups, inputs of a row, inputs of a row], and how many columns it sums up."""
    total, number = torch.zeros(()), 0
    for run in layer.runs:
        given = _given(layer.reference, run)
        columns = _COLUMNS[name_of(layer.reference)](given["x"], given)
        total, number = total + columns @ columns.mT, number + columns.shape[-1]
    return total, number


def _learned(w: Tensor, q: QParams, gram: Tensor, iterations: int) -> Tensor | None:
    """The weight, rounded so that its error matters least, or None if nearest is as good."""
    s = torch.as_tensor(q.scale, dtype=w.dtype).reshape(-1, *[1] * (w.dim() - 1)).expand(len(w), *[1] * (w.dim() - 1))
    grouped = (len(gram), -1, gram.shape[-1])

    def harm(rounded: Tensor) -> Tensor:
        error = (rounded - w).reshape(grouped)
        total: Tensor = ((error @ gram) * error).sum()
        return total

    nearest = dequantize(quantize(w, q), q)
    before = harm(nearest)
    if before <= 0:
        return None
    low = (w / s).floor()
    v = torch.logit(((w / s - low) + _OVERSHOOT) / (1 + 2 * _OVERSHOOT))
    optimizer = torch.optim.Adam([v], lr=_RATE)
    moves = 2 * s / before * ((low >= q.quant_min) & (low < q.quant_max))  # the others are cut to one integer
    for i in range(iterations):
        beta = _BETAS[0] + (_BETAS[1] - _BETAS[0]) * i / iterations
        h = _h(v)
        error = ((low + h).clamp(q.quant_min, q.quant_max) * s - w).reshape(grouped)
        v.grad = _slope(v) * (moves * (error @ gram).reshape(w.shape) + _LAMBDA * _undecided(h, beta))
        optimizer.step()
    rounded = (low + (_h(v) >= 0.5)).clamp(q.quant_min, q.quant_max) * s
    return rounded if harm(rounded) < before else None


def _h(v: Tensor) -> Tensor:
    return (torch.sigmoid(v) * (1 + 2 * _OVERSHOOT) - _OVERSHOOT).clamp(0, 1)


def _slope(v: Tensor) -> Tensor:
    """d h(v) / d v: 0 where h is cut to 0 or 1."""
    sigmoid = torch.sigmoid(v)
    cut = torch.logit(torch.tensor(_OVERSHOOT / (1 + 2 * _OVERSHOOT)))
    return (1 + 2 * _OVERSHOOT) * sigmoid * (1 - sigmoid) * (v.abs() <= -cut)


def _undecided(h: Tensor, beta: float) -> Tensor:
    """The derivative of mean(1 - |2 h - 1|^beta) by h."""
    away = 2 * h - 1
    return -2 * beta / h.numel() * away.sign() * away.abs() ** (beta - 1)
