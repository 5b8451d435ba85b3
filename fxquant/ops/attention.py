"""attention   y = softmax(scale * query @ key^T + mask) @ value

As one op its scores are never rounded to 8 bits, and the probabilities of a row are rounded relative to the largest. So
it is under dynamic qconfigs, where it takes and gives floats.
`normalize_attention` finds it written out. nn.MultiheadAttention becomes its four projections and an attention.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from fxquant.ops.arguments import Limits, exactly, rank, shape_of
from fxquant.ops.linear import linear
from fxquant.ops.matmul import LONGEST_PRODUCT, matmul
from fxquant.ops.op import op, spelling
from fxquant.ops.pool import mean
from fxquant.ops.shape import chunk, flatten, getitem, permute, squeeze, unflatten, unsqueeze
from fxquant.ops.softmax import softmax

# Why what makes a mask is not quantized.
MASK = "it makes a mask of attention, which is added in float"


def _limits(arguments: Limits) -> str | None:
    dtype = None if arguments["mask"] is None else arguments["mask"].meta.get("dtype")
    if dtype not in (None, torch.bool, torch.float32):
        return f"its mask is {dtype}; kernels take float32 and bool"
    shapes = [arguments[name].meta.get("shape") for name in ("query", "key", "value")]
    if any(shape is None for shape in shapes):
        return None
    query, _, value = shapes
    if len({shape[:-2] for shape in shapes}) > 1 or len(query) < 2:
        return "its operands differ in their leading dimensions"
    if max(query[-1], value[-2]) > LONGEST_PRODUCT:
        return f"a reduction over more than {LONGEST_PRODUCT} elements could overflow int32"
    return None


@op(activations=("query", "key", "value"), kernel=True, dynamic=True, at_run_time=("mask",), limits=_limits)
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> Tensor:
    """query [..., L, D], key [..., S, D], value [..., S, E] -> [..., L, E].

    `mask` broadcasts to [..., L, S]: a float is added to the score, False of a bool takes the key out. `causal`: of
    row i, keys beyond i are taken out.
    """
    if causal and mask is not None:
        kept = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        mask = mask & kept if mask.dtype is torch.bool else mask.masked_fill(~kept, -math.inf)
        causal = False
    if mask is not None:
        mask = torch.atleast_2d(mask)  # which torch asks for
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)


@spelling(F.scaled_dot_product_attention)
def _scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Any:
    if not isinstance(dropout_p, (int, float)) or dropout_p > 0:
        raise TypeError("it drops values even in eval(); pass dropout_p=0.0 there")
    if enable_gqa:
        raise TypeError("enable_gqa=True is not in the op table")
    if scale is None:
        shape = shape_of(query)
        if not isinstance(shape, torch.Size):
            raise TypeError("the size of its heads is unknown")
        scale = shape[-1] ** -0.5
    if isinstance(scale, Proxy) or isinstance(is_causal, Proxy):
        raise TypeError("its scale or is_causal is computed while the model runs; it must be a constant")
    return attention(query, key, value, attn_mask, bool(is_causal), float(scale))


@spelling(nn.MultiheadAttention)
def _multihead_attention_module(
    m: Any,
    query: Any,
    key: Any,
    value: Any,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    if m.bias_k is not None or m.bias_v is not None or m.add_zero_attn:
        raise TypeError("add_bias_kv and add_zero_attn are not in the op table")
    if rank(query) not in (2, 3):
        raise TypeError("its input is neither [length, features] nor a batch of these")
    batched = rank(query) == 3
    same = query.node is key.node is value.node
    if not batched:
        query, key, value = (unsqueeze(x, 0) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else _float(torch.unsqueeze, key_padding_mask, 0)
    heads = int(m.num_heads)
    # What is [length, batch, features] gets its batch first together with its heads.
    order = (0, 2, 1, 3) if m.batch_first or not batched else (1, 2, 0, 3)

    def split(x: Any) -> Any:
        return permute(unflatten(x, 2, (heads, -1)), order)

    q, k, v = map(split, _projected(m, same, query, key, value))
    mask = _mask(attn_mask, key_padding_mask, heads)
    scale = (int(m.embed_dim) // heads) ** -0.5
    y = permute(attention(q, k, v, mask, False, scale), tuple(order.index(i) for i in range(4)))
    out = m.out_proj
    y = linear(flatten(y, 2, 3), out.weight, out.bias)
    weights = softmax(matmul(q, permute(k, (0, 1, 3, 2)), scale), 3, mask) if need_weights else None
    if weights is not None and average_attn_weights:
        weights = mean(weights, (1,), False)
    if batched:
        return y, weights
    return squeeze(y, (0,)), weights if weights is None else squeeze(weights, (0,))


def _projected(m: Any, same: bool, query: Any, key: Any, value: Any) -> Any:
    """The three projections [B, L, E] (or [L, B, E]) of the inputs."""
    if not m._qkv_same_embed_dim:
        weights = (m.q_proj_weight, m.k_proj_weight, m.v_proj_weight)
        biases = [None] * 3 if m.in_proj_bias is None else m.rows("in_proj_bias", 3)
    elif same:
        joint = chunk(linear(query, m.in_proj_weight, m.in_proj_bias), 3, 2)
        return [getitem(joint, i) for i in range(3)]
    else:
        weights = m.rows("in_proj_weight", 3)
        biases = [None] * 3 if m.in_proj_bias is None else m.rows("in_proj_bias", 3)
    return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]


def _mask(attn_mask: Any, key_padding_mask: Any, heads: int) -> Any:
    """Both masks of nn.MultiheadAttention, whose True takes a key out, as one that is added: [B or 1, H or 1, L, S]."""
    attend = None if attn_mask is None else _added(attn_mask)
    if attend is not None and rank(attn_mask) == 3:
        attend = _float(torch.unflatten, attend, 0, (-1, heads))
    if key_padding_mask is None:
        return attend
    padding = _float(torch.unsqueeze, _float(torch.unsqueeze, _added(key_padding_mask), 1), 2)
    return padding if attend is None else _float(torch.add, attend, padding)


def _added(mask: Any) -> Any:
    """A mask as a summand of the scores: -inf where a bool is True."""
    if mask.node.meta.get("dtype") is not torch.bool:
        return mask
    return _float(torch.where, mask, -math.inf, 0.0)


def _float(function: Any, *args: Any) -> Any:
    return exactly(MASK, function, *args)
