"""hidden_states(recurrent(x, w, v, …, h0, c0))
  -> the h of dynamic_two_byte_recurrent_states(x, c, (w_high / c, w_low / c), …, v_high, v_low, …, h0, c0)

of the recurrent layers that annotate_dynamic chose whose qconfig has 16-bit weights. Their products are too fine for 8
bits: of their weights, or of inputs that differ a thousandfold.

Inputs, and weights of inputs and of states, have 16 bits in the candidate gate, and 8 in the others, which sigmoids
flatten. States, which lie within -1..1, have 8 bits.

    w x = (w / c) (c x), c[k] the power of 2 below the largest |w[n, k]|

is exact, and lets each input have its share of the steps of a weight's row, however the inputs differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.kernels.recurrent import bytes_of
from fxquant.ops.integer.recurrent import candidate_rows, gate_biases
from fxquant.ops.op import OPS
from fxquant.qparams import QParams

from .fold_recurrent import readers
from .observe_weights import rounded


class Bytes(NamedTuple):
    """int8 `codes` [G * H, K], `scale` [G * H] float32; of candidates high bytes, whose low ones are `low` [H, K]."""

    codes: Tensor
    low: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor, rows: slice, observer: Any) -> Bytes:
        """Of a float `weight` [G * H, K] with candidates in `rows`, by what the factory `observer` makes of int16."""
        wide, q = rounded(observer, weight)
        high, low = bytes_of(wide[rows])
        wide_scale = torch.as_tensor(q.scale).expand(len(weight)).float().contiguous()
        scale = wide_scale * (q.quant_max / 127)
        codes = qparams.quantize(weight.detach(), QParams(scale, 0, -127, 127, torch.int8, 0))
        codes[rows], scale[rows] = high, wide_scale[rows]
        return cls(codes, low, scale)


def two_bytes(
    kind: str, weights: tuple[Tensor, Tensor], biases: tuple[Tensor | None, Tensor | None], observer: Any
) -> dict[str, Tensor | None]:
    """The constants of the op for a layer of `kind` with float weights and biases, in its order.

    `observer`: the factory of its qconfig for weights.
    """
    weight_ih, weight_hh = weights
    bias, step_bias = gate_biases(kind, *biases, len(weight_ih))
    rows, columns = candidate_rows(kind, weight_ih), _columns(weight_ih.detach().float())
    ih, hh = (Bytes.of(weight, rows, observer) for weight in (weight_ih / columns, weight_hh))
    return {
        "columns": columns,
        "weight_ih": ih.codes,
        "low_ih": ih.low,
        "weight_hh": hh.codes,
        "low_hh": hh.low,
        "bias_ih": bias,
        "bias_hh": step_bias,
        "multiplier_ih": ih.scale,
        "multiplier_hh": hh.scale,
    }


def _columns(weight: Tensor) -> Tensor:
    """c above, [K]; 1 where all weights are 0."""
    largest = weight.abs().amax(0)
    return torch.where(largest > 0, torch.exp2(largest.log2().floor().clamp(-126, 126)), torch.ones_like(largest))


@register_pass(stage="fold")
def fold_two_bytes(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if quant_of(node).two_bytes:
            _fold(gm, node)
    return surgery.clean(gm)


def _fold(gm: GraphModule, node: Node) -> None:
    arguments = OPS[ops.recurrent].bind(node)
    ih, hh = (surgery.fetch(gm, arguments[name]) for name in ("weight_ih", "weight_hh"))
    bias_ih, bias_hh = (arguments[name] and surgery.fetch(gm, arguments[name]) for name in ("bias_ih", "bias_hh"))
    layer = two_bytes(arguments["kind"], (ih, hh), (bias_ih, bias_hh), node.meta["qconfig"].qconfig.weight)
    constants = [None if t is None else surgery.own_constant(gm, node, name, t) for name, t in layer.items()]
    settings = (arguments["kind"], arguments["reverse"], quant_of(node).dynamic, arguments["h0"], arguments["c0"])
    call, x = ops.dynamic_two_byte_recurrent_states, arguments["x"]
    new = surgery.emit(node, call, x, *constants, *settings, sources=[node])
    new.meta["shape"] = node.meta.get("shape")
    for index, reader in enumerate(readers(node)):
        if reader is not None:
            surgery.replace(reader, surgery.emit(reader, ops.getitem, new, index, sources=[reader]))
