"""quantize(max_pool(dequantize(x, q)), q)   -> int8_max_pool2d(x): the largest integer is the largest real
quantize(avg_pool(dequantize(x, p)), q)   -> int8_avg_pool2d(x, s_x / s_y, …): sums are exact in int32

Pools over one dimension are pools over images of height 1; a mean over all spatial dimensions is an adaptive pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Pool(Rule):
    """`pool` becomes `int8`; `flat`: a pool over images of height 1."""

    def __init__(self, pool: Callable[..., Any], int8: Callable[..., Any], flat: bool = False) -> None:
        self.pool, self.int8, self.flat = pool, int8, flat

    def images(self, x: Any) -> Any:
        return ops.unsqueeze(x, 2) if self.flat else x

    def back(self, y: Any) -> Any:
        return ops.squeeze(y, (2,)) if self.flat else y

    def pair(self, value: Any, flat: int = 1) -> Any:
        """A setting a dimension; of a pool over one dimension, `flat` stands for the height."""
        return (flat, *value) if self.flat else tuple(value)


class MaxPool(Pool):
    def pattern(self, x: Any, q: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: Any) -> Any:
        return ops.quantize(self.pool(ops.dequantize(x, q), kernel, stride, padding, dilation, ceil), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        window = (self.pair(m.kernel), self.pair(m.stride), self.pair(m.padding, 0), self.pair(m.dilation))
        return self.back(self.int8(self.images(x), *window, m.ceil))


class _AvgPool(Pool):
    def average(self, m: Match, x: Any, divisor: int | None) -> Any:
        window = (self.pair(m.kernel), self.pair(m.stride), self.pair(m.padding, 0))
        y = self.int8(self.images(x), *window, m.ceil, m.include, divisor, *_requantize(m))
        return self.back(y)


class AvgPool1d(_AvgPool):
    def pattern(self, x: Any, p: Any, kernel: Any, stride: Any, padding: Any, ceil: Any, include: Any, q: Any) -> Any:
        return ops.quantize(self.pool(ops.dequantize(x, p), kernel, stride, padding, ceil, include), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.average(m, x, None)


class AvgPool(_AvgPool):
    def pattern(
        self, x: Any, p: Any, kernel: Any, stride: Any, padding: Any, ceil: Any, include: Any, divisor: Any, q: Any
    ) -> Any:
        return ops.quantize(self.pool(ops.dequantize(x, p), kernel, stride, padding, ceil, include, divisor), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.average(m, x, m.divisor)


class AdaptiveAvgPool(Pool):
    def pattern(self, x: Any, p: Any, size: Any, q: Any) -> Any:
        return ops.quantize(self.pool(ops.dequantize(x, p), size), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.back(self.int8(self.images(x), self.pair(m.size), *_requantize(m)))


class AdaptiveMaxPool(Pool):
    def pattern(self, x: Any, q: Any, size: Any) -> Any:
        return ops.quantize(self.pool(ops.dequantize(x, q), size), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.back(self.int8(self.images(x), self.pair(m.size)))


class Mean(Rule):
    def pattern(self, x: Any, p: Any, dims: Any, keepdim: Any, q: Any) -> Any:
        return ops.quantize(ops.mean(ops.dequantize(x, p), dims, keepdim), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        flat, volumes = len(m.dims) == 1, len(m.dims) == 3
        pool: Any = ops.int8_adaptive_avg_pool3d if volumes else ops.int8_adaptive_avg_pool2d
        y = pool(ops.unsqueeze(x, 2) if flat else x, (1, 1, 1) if volumes else (1, 1), *_requantize(m))
        if not m.keepdim:
            return ops.flatten(y, 1)
        return ops.squeeze(y, (2,)) if flat else y


def _requantize(m: Match) -> tuple[float, int, Any]:
    return qparams.float32(m.p.scale / m.q.scale), int(m.p.zero_point), qparams.bounds(m.q)


RULES = (
    MaxPool(ops.max_pool1d, ops.int8_max_pool2d, flat=True),
    MaxPool(ops.max_pool2d, ops.int8_max_pool2d),
    MaxPool(ops.max_pool3d, ops.int8_max_pool3d),
    AvgPool1d(ops.avg_pool1d, ops.int8_avg_pool2d, flat=True),
    AvgPool(ops.avg_pool2d, ops.int8_avg_pool2d),
    AvgPool(ops.avg_pool3d, ops.int8_avg_pool3d),
    AdaptiveAvgPool(ops.adaptive_avg_pool1d, ops.int8_adaptive_avg_pool2d, flat=True),
    AdaptiveAvgPool(ops.adaptive_avg_pool2d, ops.int8_adaptive_avg_pool2d),
    AdaptiveAvgPool(ops.adaptive_avg_pool3d, ops.int8_adaptive_avg_pool3d),
    AdaptiveMaxPool(ops.adaptive_max_pool1d, ops.int8_adaptive_max_pool2d, flat=True),
    AdaptiveMaxPool(ops.adaptive_max_pool2d, ops.int8_adaptive_max_pool2d),
    AdaptiveMaxPool(ops.adaptive_max_pool3d, ops.int8_adaptive_max_pool3d),
    Mean(),
)


@register_pass(stage="fold")
def fold_pool(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
