"""matmul(q * c, k), q @ k / c, …               -> matmul(q, k, scale=c)
scores - d                                   -> scores + (-d), if a softmax reads them and d would be a mask
softmax(matmul(q, k, c) + mask)              -> softmax(matmul(q, k, c), mask)
softmax(reshape(x + mask))                   -> reshape(softmax(x + mask)), if the last dimension stays as it is
softmax(reshape(x) + mask)                   -> softmax(reshape(x), mask), if the mask is made of no activation
softmax(masked_fill(matmul(q, k, c), m, -inf))  -> the same, with a mask of 0 and -inf
matmul(softmax(matmul(q, k, c), mask), v)    -> attention(q, k^T, v, mask, scale=c)

Attention written out. A mask is added in float: next to its -1e9, no 8 bits would tell scores apart.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.graph.shapes import AS_GOOD_AS_INFINITE, infer_shapes
from fxquant.ops.arguments import exactly
from fxquant.ops.attention import MASK


class _Scaled(Rule):
    def check(self, m: Match) -> None:
        if not isinstance(m.factor, (int, float)):
            m.refuse("the factor is computed, not a number")


class ScaledLeft(_Scaled):
    def pattern(self, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(ops.mul(a, factor), b, scale)

    def rewrite(self, m: Match, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, b, float(scale * factor))


class DividedLeft(_Scaled):
    def pattern(self, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(ops.div(a, factor), b, scale)

    def rewrite(self, m: Match, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, b, float(scale / factor))


class ScaledRight(_Scaled):
    def pattern(self, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, ops.mul(b, factor), scale)

    def rewrite(self, m: Match, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, b, float(scale * factor))


class ScaledProduct(_Scaled):
    def pattern(self, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.mul(ops.matmul(a, b, scale), factor)

    def rewrite(self, m: Match, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, b, float(scale * factor))


class DividedProduct(_Scaled):
    def pattern(self, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.div(ops.matmul(a, b, scale), factor)

    def rewrite(self, m: Match, a: Any, factor: Any, b: Any, scale: Any) -> Any:
        return ops.matmul(a, b, float(scale / factor))


class MaskSubtracted(Rule):
    """Distances, or 1e9 where a key is out: x - d is x + (-d) to the last bit, and the rules of what is added apply."""

    def pattern(self, x: Any, d: Any) -> Any:
        return ops.sub(x, d)

    def check(self, m: Match) -> None:
        if not (isinstance(m.x, Node) and isinstance(m.d, Node) and surgery.is_tensor(m.d)):
            m.refuse("a number is no mask")
        if not _reach_softmax(m.root):
            m.refuse("no softmax reads the difference as scores")
        if not (_is_product(m.x) or of_no_activation(m.d)):
            m.refuse("what is subtracted is made of activations, and not from a product: no mask")
        if surgery.depends(m.d, [m.x]):
            m.refuse("what is subtracted is made of the scores themselves")

    def rewrite(self, m: Match, x: Any, d: Any) -> Any:
        return ops.add(x, exactly(MASK, torch.neg, d))


def _reach_softmax(scores: Node) -> bool:
    """Whether a softmax alone reads `scores`, be it after other masks and a reshape."""
    (reader,) = scores.users if len(scores.users) == 1 else (None,)
    if reader is None or reader.args[0] is not scores:
        return False
    return reader.target is ops.softmax or (reader.target in _BEFORE_SOFTMAX and _reach_softmax(reader))


def _is_product(x: Node) -> bool:
    """Whether `x` is a product of activations, to which masks may have been added."""
    return x.target is ops.matmul or (x.target is ops.add and isinstance(x.args[0], Node) and _is_product(x.args[0]))


_BEFORE_SOFTMAX = (ops.add, ops.sub, ops.reshape)


class MaskAdded(Rule):
    def pattern(self, a: Any, b: Any, scale: Any, mask: Any, dim: Any) -> Any:
        return ops.softmax(ops.add(ops.matmul(a, b, scale), mask), dim, None)

    def check(self, m: Match) -> None:
        if isinstance(m.mask, (int, float)):
            m.refuse("a number that is added to every score is no mask")

    def rewrite(self, m: Match, a: Any, b: Any, scale: Any, mask: Any, dim: Any) -> Any:
        return ops.softmax(ops.matmul(a, b, scale), dim, mask)


class MaskAddedTwice(Rule):
    def pattern(self, a: Any, b: Any, scale: Any, mask: Any, other: Any, dim: Any) -> Any:
        return ops.softmax(ops.add(ops.add(ops.matmul(a, b, scale), mask), other), dim, None)

    def check(self, m: Match) -> None:
        if isinstance(m.mask, (int, float)) or isinstance(m.other, (int, float)):
            m.refuse("a number that is added to every score is no mask")

    def rewrite(self, m: Match, a: Any, b: Any, scale: Any, mask: Any, other: Any, dim: Any) -> Any:
        return ops.softmax(ops.matmul(a, b, scale), dim, exactly(MASK, torch.add, mask, other))


class ReshapedScores(Rule):
    """Windows: the scores of an image's windows get masks of their own before all are a batch again."""

    def pattern(self, x: Any, mask: Any, shape: Any, dim: Any) -> Any:
        return ops.softmax(ops.reshape(ops.add(x, mask), shape), dim, None)

    def check(self, m: Match) -> None:
        (scores,) = m.root.all_input_nodes[0].all_input_nodes[:1]
        before, after = scores.meta.get("shape"), m.root.meta.get("shape")
        if not before or not after or m.dim not in (-1, len(after) - 1) or before[-1] != after[-1]:
            m.refuse("the reshape changes the rows of the softmax")

    def rewrite(self, m: Match, x: Any, mask: Any, shape: Any, dim: Any) -> Any:
        (scores,) = m.root.all_input_nodes[0].all_input_nodes[:1]
        return ops.reshape(ops.softmax(ops.add(x, mask), len(scores.meta["shape"]) - 1, None), shape)


class _NoActivation(Rule):
    def check(self, m: Match) -> None:
        if not (isinstance(m.x, Node) and isinstance(m.added, Node) and of_no_activation(m.added)):
            m.refuse("what is added to the scores is a number, or made of activations: no mask")
        scores, added = m.x.meta.get("shape"), m.added.meta.get("shape")
        if None in (scores, added) or torch.broadcast_shapes(scores, added) != scores:
            m.refuse("what is added to the scores does not broadcast to their shape")
        if m.added.meta.get("dtype") is not torch.float32:
            m.refuse(f"what is added to the scores is {m.added.meta.get('dtype')}, no float32")


class ConstantAdded(_NoActivation):
    """Whatever the scores are: what is added to them needs no rounding."""

    def pattern(self, x: Any, added: Any, dim: Any) -> Any:
        return ops.softmax(ops.add(x, added), dim, None)

    def rewrite(self, m: Match, x: Any, added: Any, dim: Any) -> Any:
        return ops.softmax(x, dim, added)


class ConstantAddedToo(_NoActivation):
    def pattern(self, x: Any, added: Any, dim: Any, mask: Any) -> Any:
        return ops.softmax(ops.add(x, added), dim, mask)

    def check(self, m: Match) -> None:
        super().check(m)
        if m.mask is None:
            m.refuse("there is no mask yet")

    def rewrite(self, m: Match, x: Any, added: Any, dim: Any, mask: Any) -> Any:
        return ops.softmax(x, dim, exactly(MASK, torch.add, added, mask))


def of_no_activation(node: Node) -> bool:
    """Whether the tensor `node` is made of constants, integers and sizes: of no float input of the model."""
    seen, left = {node}, [node]
    while left:
        each = left.pop()
        if each.op == "placeholder" and each.meta.get("dtype") in (None, torch.float32):
            return False
        new = {x for x in each.all_input_nodes if surgery.is_tensor(x)} - seen
        seen |= new
        left += new
    return True


class MaskFilled(Rule):
    def pattern(self, a: Any, b: Any, scale: Any, mask: Any, value: Any, dim: Any) -> Any:
        return ops.softmax(ops.masked_fill(ops.matmul(a, b, scale), mask, value), dim, None)

    def check(self, m: Match) -> None:
        if m.value > -AS_GOOD_AS_INFINITE:
            m.refuse(f"{m.value} is no number that takes a key out")

    def rewrite(self, m: Match, a: Any, b: Any, scale: Any, mask: Any, value: Any, dim: Any) -> Any:
        return ops.softmax(ops.matmul(a, b, scale), dim, exactly(MASK, torch.where, mask, value, 0.0))


class Attention(Rule):
    def pattern(self, a: Any, b: Any, scale: Any, mask: Any, dim: Any, v: Any) -> Any:
        return ops.matmul(ops.softmax(ops.matmul(a, b, scale), dim, mask), v, 1.0)

    def check(self, m: Match) -> None:
        shapes = [node.meta.get("shape") for node in (m.a, m.b, m.v)]
        if None in shapes or len({shape[:-2] for shape in shapes}) > 1:
            m.refuse("its operands differ in their leading dimensions")
        if m.dim not in (-1, len(shapes[0]) - 1):
            m.refuse("the softmax is not along the keys")

    def rewrite(self, m: Match, a: Any, b: Any, scale: Any, mask: Any, dim: Any, v: Any) -> Any:
        rank = len(m.a.meta["shape"])
        key = ops.permute(b, (*range(rank - 2), rank - 1, rank - 2))
        return ops.attention(a, key, v, mask, False, scale)


SCALES = (ScaledLeft(), DividedLeft(), ScaledRight(), ScaledProduct(), DividedProduct(), MaskSubtracted())
MASKS = (ReshapedScores(), ConstantAdded(), ConstantAddedToo(), MaskAddedTwice(), MaskAdded(), MaskFilled())
ATTENTION = (Attention(),)


@register_pass(stage="normalize")
def normalize_attention(gm: GraphModule) -> GraphModule:
    for rules in (SCALES, MASKS, ATTENTION):
        gm = infer_shapes(apply_rules(gm, rules))
    return gm
