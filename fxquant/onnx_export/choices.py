"""Choices in ONNX: by masks, by indices, and of the rows of embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.floats import FLOAT_EXPORTS
from fxquant.onnx_export.layers import LAYER_EXPORTS
from fxquant.onnx_export.moves import MOVE_EXPORTS, picked
from fxquant.ops.integer.embedding import unpacked
from fxquant.runtime.layer import Layer

_float, _int8, _move = registering(FLOAT_EXPORTS), registering(LAYER_EXPORTS), registering(MOVE_EXPORTS)


# Masks.


@_int8(ops.mask_nonzero)
def _mask_nonzero(b: Builder, layer: Layer, x: Node) -> str:
    return b.operand(x)


@_int8(ops.mask_and)
def _mask_and(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    return str(b.add("And", b.name(x), b.name(y)))


@_move(ops.corner)
def _corner(b: Builder, x: Any, sizes: Any, index: Any) -> Any:
    shapes = zip(b.shape(x), torch.fx.node.map_arg(sizes, b.examples.__getitem__), strict=False)
    kept = [slice(None) if whole == size else slice(0, b.known(size)) for whole, size in shapes]
    return picked(b, picked(b, b.name(x), kept), index)


@_float(ops.masked_fill)
def _masked_fill(b: Builder, x: Any, mask: Any, value: Any) -> Any:
    return b.add("Where", b.name(mask), b.operand(value), b.name(x))


@_float(ops.where)
def _where(b: Builder, condition: Any, x: Any, y: Any) -> Any:
    return b.add("Where", b.name(condition), b.operand(x), b.operand(y))


# Rows.


@_float(ops.embedding)
def _embedding(b: Builder, indices: Any, weight: Any) -> Any:
    return b.add("Gather", b.name(weight), b.name(indices), axis=0)


@_int8(ops.float_embedding)
def _float_embedding(b: Builder, layer: Layer, indices: Node) -> Any:
    return b.add("Gather", b.constant(layer.constant("vectors")), b.name(indices), axis=0)


@_int8(ops.int8_embedding)
def _int8_embedding(b: Builder, layer: Layer, indices: Node) -> str:
    return str(b.add("Gather", b.constant(layer.constant("rows")), b.name(indices), axis=0))


@_int8(ops.rows_embedding)
def _rows_embedding(b: Builder, layer: Layer, indices: Node) -> str:
    codes = unpacked(layer.constant("rows"), layer.constant("width"))
    tables = [codes, *(layer.constant(name).unsqueeze(1) for name in ("zero_point", "scale"))]
    rows, zero_point, scale = (b.add("Gather", b.constant(t), b.name(indices), axis=0) for t in tables)
    real = b.add("Cast", rows, to=b.onnx.TensorProto.FLOAT)
    return str(b.add("Mul", b.add("Sub", real, zero_point), scale))
