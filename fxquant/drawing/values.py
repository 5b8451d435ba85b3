"""What is known of the value that a node gives: shape, dtype, qparams, statistics."""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from fxquant.drawing.model import Histogram, Value, Weight
from fxquant.errors import FxquantError
from fxquant.observer.binned import BinnedObserver
from fxquant.ops.quantize import quantize
from fxquant.qparams import QParams
from fxquant.runtime.layer import Layer

BINS = 48
SAMPLE = 1 << 16
LONGEST = 200  # characters of an argument


def is_observer(module: nn.Module | None) -> bool:
    """Whether a module learns qparams of what goes through it: an observer or a fake-quantize, also a user's."""
    return hasattr(module, "calculate_qparams")


def qparams_of(node: Node, module: nn.Module | None) -> QParams | None:
    """The qparams of the node's own value: its observer's, those it quantizes by, or those that conversion noted."""
    if is_observer(module):
        return _learned(module)
    noted = node.meta.get("qparams")
    if isinstance(noted, QParams):
        return noted
    if node.target is quantize:
        return next((a for a in (*node.args, *node.kwargs.values()) if isinstance(a, QParams)), None)
    return _of_layer(module) if isinstance(module, Layer) else None


def _learned(observer: Any) -> QParams | None:
    if not getattr(observer, "observed", True) or not hasattr(observer, "qparams"):
        return None
    try:
        found = observer.qparams()
    except FxquantError:  # it has none, or not yet
        return None
    return found if isinstance(found, QParams) else None


def _of_layer(layer: Layer) -> QParams | None:
    """What a layer knows without its node's meta, as in a model read from a file."""
    scale, output = layer.constant("output_scale"), layer.constant("output") or layer.constant("q")
    if scale is None or not hasattr(output, "zero_point"):
        return None
    return QParams(float(scale), int(output.zero_point))


def value_of(node: Node, qparams: QParams | None, integers: bool) -> Value:
    """The value of `node` as text; of a quantized one, `integers` says whether it exists as integers."""
    shape, dtype = shape_text(node.meta.get("shape")), node.meta.get("dtype")
    if qparams is None:
        return Value(shape, "uint8" if integers else dtype_text(dtype))
    text = dtype_text(qparams.dtype if integers else dtype)
    if qparams.axis is not None:
        return Value(shape, text, note=f"a scale for each channel, axis {qparams.axis}")
    if isinstance(qparams.scale, Node) or isinstance(qparams.zero_point, Node):
        return Value(shape, text, note=f"scale {qparams.scale}, zero point {qparams.zero_point}")
    scale, zero_point = float(qparams.scale), _plain(qparams.zero_point)
    if not isfinite(scale + zero_point):
        return Value(shape, text, note=f"scale {scale}, zero point {zero_point}")
    return Value(shape, text, scale, zero_point)


def _plain(zero_point: int | float | Tensor) -> int | float:
    return zero_point.item() if isinstance(zero_point, Tensor) else zero_point


def shape_text(shape: Any) -> str:
    """1x3x224x224; several tensors with a comma between."""
    if isinstance(shape, torch.Size):
        return "x".join(map(str, shape)) or "scalar"
    return ", ".join(map(shape_text, shape)) if isinstance(shape, tuple) else ""


def dtype_text(dtype: Any) -> str:
    """float32 for torch.float32."""
    return str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else ""


def bytes_of(node: Node, integers: bool) -> int:
    """Of the tensor that the node gives, for the example inputs; 0 where its shape is not known."""
    shape, dtype = node.meta.get("shape"), node.meta.get("dtype")
    if not isinstance(shape, torch.Size) or not isinstance(dtype, torch.dtype):
        return 0
    return shape.numel() * (1 if integers else dtype.itemsize)


def weights_of(tensors: dict[str, Tensor]) -> tuple[Weight, ...]:
    """A row for each tensor."""
    return tuple(Weight(n, shape_text(t.shape), dtype_text(t.dtype), t.nbytes) for n, t in tensors.items())


def histogram_of_weight(name: str, weight: Tensor) -> Histogram | None:
    """Of a tensor that is large enough to have one; of a very large one, of evenly spaced elements."""
    if weight.numel() < BINS or weight.dtype is torch.bool or weight.is_complex():
        return None
    values = weight.detach().flatten()[:: weight.numel() // SAMPLE + 1].float()
    low, high = (float(x) for x in torch.aminmax(values))
    if not low < high or not isfinite(high - low):
        return None
    return Histogram(name, low, high, tuple(int(n) for n in torch.histc(values, BINS, low, high)))


def histogram_of_observer(observer: nn.Module | None) -> Histogram | None:
    """What a binned observer has counted, in fewer bins, between the least and the greatest value that it saw."""
    if not isinstance(observer, BinnedObserver) or not observer.observed:
        return None
    low, high = float(observer.min_val), float(observer.max_val)
    if not low < high:
        return None
    middles = (torch.arange(observer.per_side, dtype=torch.float64) + 0.5) * observer.width
    values = torch.cat([-middles, middles, torch.zeros(1)]).clamp(low, high)
    counts = torch.cat([observer.counts.cpu().flatten(), observer.zeros.cpu().reshape(1)])
    bins = ((values - low) / (high - low) * BINS).long().clamp(max=BINS - 1)
    return Histogram("values seen", low, high, tuple(torch.bincount(bins, counts.double(), BINS).long().tolist()))
