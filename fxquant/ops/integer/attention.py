"""attention of integers. Scores stay exact; only the probabilities are rounded, to 255ths of the largest of their row:

    t[i, j] = sum over d of (q[i, d] - q_zero_point) * (k[j, d] - k_zero_point) * score_multiplier
              + max(mask[i, j] * log2(e), -FLT_MAX)                        -inf for j > i if causal
    p[i, j] = (rne(65280 * 2^(t[i, j] - max over j of t[i, j])) + dither(j)) >> 8
    dither(j) = ((j * 40503 + 32768) mod 65536) >> 8                       in 0..255
    y[i, e] = requantize(sum over j of p[i, j] * (v[j, e] - v_zero_point) * (value_multiplier / sum over j of p[i, j]))

Scores are in units of log(2): score_multiplier = s_q * s_k * scale * log2(e). The power of 2 is that of exponential.py.
All float arithmetic is in float32, both sums are exact in int32. Probabilities always add up to 1, since the sum is
that of the rounded ones. A row without any key is 0, as in torch.

`dither` keeps the tail of a long row, where most keys have less than half a step, on average: kernels/matmul/dither.h.
It cannot make a key of one that is masked: dither(j) >> 8 is 0.

Of floats, whose codes are made at run time, score_multiplier = s_q * s_k * scale * log2(e), all zero points are 0, and

    y[i, e] = sum over j of p[i, j] * v[j, e] * (1 / sum over j of p[i, j]) * s_v[e]
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.integer.exponential import EXPONENTIAL_255, LOG2_E, power_of_2
from fxquant.ops.integer.matmul import centered_product
from fxquant.ops.integer.softmax import added
from fxquant.ops.op import op
from fxquant.qparams import Requantize, requantize, symmetric_codes


@op(activations=("query", "key", "value"), at_run_time=("mask",))
def int8_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_multiplier: float,
    query_zero_point: int,
    key_zero_point: int,
    value_multiplier: float,
    value_zero_point: int,
    output: Requantize,
    causal: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """uint8 [..., L, D], [..., S, D] and [..., S, E] to uint8 [..., L, E], in memory [..., L, heads, E].

    `mask`: float32 or bool (True keeps a key), broadcasts to [..., L, S]. value_multiplier = s_v / s_y.
    """
    scores = centered_product(query, query_zero_point, key.mT, key_zero_point).float() * score_multiplier
    p, total = _probabilities(scores, mask, causal)
    multiplier = torch.where(total > 0, torch.tensor(value_multiplier) / total, 0.0)
    acc = centered_product(p, 0, value, value_zero_point)
    return requantize(acc, multiplier, output)


def _probabilities(scores: Tensor, mask: Tensor | None, causal: bool) -> tuple[Tensor, Tensor]:
    """Of scores [..., L, S] in units of log(2) the p[i, j] above, and their sums [..., L, 1]."""
    if mask is not None:
        scores = scores + _in_powers_of_2(added(mask))
    if causal:
        beyond = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(beyond, -torch.inf)
    distance = scores - scores.amax(-1, keepdim=True) if scores.numel() else scores
    p = torch.round(256 * power_of_2(distance, EXPONENTIAL_255)) + dither(scores.shape[-1])
    p = p.div(256, rounding_mode="floor")
    return p, p.sum(-1, keepdim=True)


def dither(keys: int) -> Tensor:
    """What is added to the probabilities of so many keys, in 256ths, before they are cut to integers: int64 [keys]."""
    return ((torch.arange(keys) * 40503 + 32768) % 65536) // 256


def _in_powers_of_2(mask: Tensor) -> Tensor:
    """What stands for the lowest float stays finite: a row that is masked so throughout counts all its keys."""
    scaled = (mask * LOG2_E).clamp(min=torch.finfo(torch.float32).min)
    return torch.where(mask == -torch.inf, mask, scaled)


@op(activations=("query", "key", "value"), at_run_time=("mask",))
def dynamic_attention(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, mask: Tensor | None = None
) -> Tensor:
    """float32 [..., L, D], [..., S, D] and [..., S, E] to float32 [..., L, E], in memory [..., L, heads, E].

    Query and key have one scale for each of the leading dimensions, values one for each of their columns too. A NaN or
    an infinity in query or key makes all of its result NaN, one in a value its column.
    """
    q, q_scale = symmetric_codes(query, (-2, -1))
    k, k_scale = symmetric_codes(key, (-2, -1))
    v, v_scale = symmetric_codes(value, (-2,))
    multiplier = q_scale * k_scale * scale * LOG2_E
    p, total = _probabilities(centered_product(q, 128, k.mT, 128).float() * multiplier, mask, causal)
    share = torch.where(total > 0, 1.0 / total, 0.0) + 0.0 * (q_scale + k_scale)
    return centered_product(p, 0, v, 128).float() * share * v_scale
