"""linear(norm(x; g, h); w)   ->   linear(norm(x; g / s, h / s); w * s)      s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)

The activations of language models have channels that are a hundred times as large as the others, and one scale for all;
weights have a scale for each row, and no outliers. Part of the difference moves from the one to the other. Xiao et al.
2023, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models" (arXiv:2211.10438),
equation 4. X_j is channel j of what a layer norm or RMS norm gives, W_j the column that multiplies it, in all linear
layers that read it; the norm's own gain and shift take the division, so that nothing is computed at run time. Where
something else reads the norm, too, such as the residual of BERT, the linear layers get a norm of their own:

    y = norm(x; g, h); linear(y; w) + y   ->   linear(norm(x; g / s, h / s); w * s) + norm(x; g, h)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.errors import ConfigError
from fxquant.plugin import (
    allowed,
    arguments_of,
    behind,
    by_channel,
    changing,
    is_private,
    name_of,
    note_rescaling,
    parameter_of,
    readers,
    scale,
    twin,
    typed,
    where,
)

Prepared = TypeVar("Prepared", bound=nn.Module)

_NORMS = ("layer_norm", "rms_norm")


@typed
def smooth_quant(prepared: Prepared, data: Iterable[Any], alpha: float = 0.5) -> Prepared:
    """Moves outliers of activations into weights, in a model of prepare_fx, in place, and returns it.

    `data`: batches as for calibrate. `alpha`: 1 makes all channels of activations equal, 0 all columns of
    weights. Observers forget what they saw: calibrate afterwards. In float the model computes the same as before.

    Where a norm is left as it is, the reason is in meta["refusals"] of its node, and printed under fxquant.debug(3).
    Warns with ConfigWarning if that is so of all. Raises ConfigError if `prepared` is not one graph of prepare_fx or
    alpha is not in 0..1, CalibrationError if `data` holds no batches, and InputError if a batch does not fit.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha={alpha!r} is not between 0 and 1")
    with changing(prepared, "smooth_quant") as gm:
        limits = {node: _limit(gm, node) for node in gm.graph.nodes if name_of(node) in _NORMS}
        ranges = by_channel(gm, data, dict.fromkeys(limits, -1))
        for norm in allowed(limits, "smooth_quant", "smooth any norm"):
            _smooth(gm, norm, ranges[norm].amax(0), alpha)
    return prepared


def _limit(gm: GraphModule, norm: Node) -> str | None:
    """Why the channels of this norm cannot be scaled for any layer, or None."""
    given = arguments_of(norm)
    if given["weight"] is None or not is_private(gm, norm, *_parameters(norm)):
        return f"{where(norm)} has no gain and shift of its own"
    if len(given["normalized_shape"]) != 1:
        return f"{where(norm)} normalizes several dimensions"
    reading = readers(gm, norm)
    if _layers(gm, norm):
        return None
    linear = [reader for reader in reading if name_of(reader) == "linear"]
    if linear:
        return f"the weight of {where(linear[0])} is shared or computed"
    return f"no linear layer reads it, but {where(reading[0])} does" if reading else "nothing reads it"


def _layers(gm: GraphModule, norm: Node) -> list[Node]:
    """The linear layers that multiply what the norm gives by a weight of their own."""

    def multiplies(node: Node) -> bool:
        return (
            name_of(node) == "linear" and behind(gm, arguments_of(node)["x"]) is norm and is_private(gm, node, "weight")
        )

    return list(dict.fromkeys(filter(multiplies, readers(gm, norm))))


def _parameters(norm: Node) -> tuple[str, ...]:
    return ("weight", "bias") if name_of(norm) == "layer_norm" else ("weight",)


def _smooth(gm: GraphModule, norm: Node, x: Tensor, alpha: float) -> None:
    layers = _layers(gm, norm)
    w = torch.stack([parameter_of(gm, layer, "weight").abs().amax(0) for layer in layers]).amax(0)
    s = torch.where((x > 0) & (w > 0), x**alpha / w ** (1 - alpha), 1.0)
    if set(readers(gm, norm)) != set(layers):
        norm = twin(gm, norm, _parameters(norm), layers)
    note_rescaling(norm, -1, 1 / s)
    for role in _parameters(norm):
        scale(gm, norm, role, 1 / s)
    for layer in layers:
        scale(gm, layer, "weight", s)
