"""recurrent with projections: an LSTM whose states h are shorter than its cell states c.

    i, f, g, o = W_ih x[t] + W_hh h[t-1] + b;   c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
    h[t] = W_hr (sigmoid(o) * tanh(c[t]))

Each of the three products is a dynamic_linear; all else is torch's, in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fxquant.ops.integer.linear import dynamic_product
from fxquant.ops.op import Output, op
from fxquant.qparams import Dynamic

Product = Callable[[Tensor], Tensor]


@op(activations=("x", "h0"), output=Output.NONE, several=True, at_run_time=("c0",))
def dynamic_projected_states(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    weight_hr: Tensor,
    bias_ih: Tensor,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    multiplier_hr: Tensor,
    reverse: bool,
    dynamic: Dynamic,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x float32 [T, B, I] -> h float32 [T, B, P] and the last c float32 [B, H].

    Weights int8 [4 * H, I], [4 * H, P] and [P, H], their scales float32 [4 * H] and [P]; `bias_ih` [4 * H] is that of
    both products. h0 float32 [B, P] and c0 [B, H].
    """
    ih = _product_of(weight_ih, multiplier_ih, bias_ih, dynamic)
    hh, hr = (_product_of(*each, 0.0, dynamic) for each in ((weight_hh, multiplier_hh), (weight_hr, multiplier_hr)))
    return all_steps(x, ih, hh, hr, reverse, *initial(x, weight_hr, h0, c0))


def initial(x: Tensor, weight_hr: Tensor, h0: Tensor | None, c0: Tensor | None) -> tuple[Tensor, Tensor]:
    """The states [B, P] and [B, H] to begin with, of `weight_hr` [P, H]: zeros where none are given."""
    outputs, cells = weight_hr.shape
    h = x.new_zeros(x.shape[1], outputs) if h0 is None else h0
    return h, x.new_zeros(x.shape[1], cells) if c0 is None else c0


def all_steps(
    x: Tensor, ih: Product, hh: Product, hr: Product, reverse: bool, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """All h and the last c, of three products; from the last step on if `reverse`."""
    a, found = ih(x), list[Tensor]()
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        i, f, g, o = (a[t] + hh(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = hr(torch.sigmoid(o) * torch.tanh(c))
        found.append(h)
    return torch.stack(found[::-1] if reverse else found), c


def _product_of(weight: Tensor, multiplier: Tensor, bias: Tensor | float, dynamic: Dynamic) -> Product:
    return lambda x: dynamic_product(x, weight, multiplier, bias, dynamic)
