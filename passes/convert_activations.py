"""observer(x) -> dequantize(quantize(x, q), q), with the qparams q that the observer found.

Values that share an observer without being watched (the output of max-pool, reshape …) get the same pair. What is
computed in float, or is the graph's own input, keeps its exact value for everything else that reads it in float, unless
the user wants it as integers.
Signed activations become unsigned ones of the same reals: q + 128 with zero_point + 128. Where half of the integers are
used, as torch.ao does for kernels that saturate (0..127), the scale stays, and the other half is headroom as there.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.errors import CalibrationWarning
from fxquant.graph import surgery
from fxquant.graph.annotation import is_several, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.qparams import QParams


@register_pass(stage="convert")
def convert_activations(gm: GraphModule) -> GraphModule:
    _warn_unobserved(gm)
    for node in list(gm.graph.nodes):
        name = node.meta.get("observer")
        if name is None or is_several(node):
            continue
        q = _unsigned(getattr(gm, name).qparams())
        watcher = next((u for u in node.users if u.op == "call_module" and u.target == name), None)
        real = surgery.insert_after(node, lambda x, q=q: _quantize_dequantize(x, q))  # type: ignore[misc]
        if watcher is not None:
            surgery.replace(watcher, real)
        if not (quant_of(node).int8 or quant_of(node).border):
            surgery.replace_in(node, real, [user for user in real.users if not quant_of(user).int8])
    return surgery.clean(gm)


def _quantize_dequantize(x: Node, q: QParams) -> Node:
    before = surgery.next_node(x)
    integer: Node = surgery.emit(before, ops.quantize, x, q)
    real: Node = surgery.emit(before, ops.dequantize, integer, q)
    integer.meta["qparams"] = q
    for node in (integer, real):
        node.meta.update({key: x.meta[key] for key in ("shape", "dtype", "conversion", "rescaling") if key in x.meta})
    return real


def _unsigned(q: QParams) -> QParams:
    offset = 0 if q.dtype is torch.uint8 else 128
    low, high = q.quant_min + offset, q.quant_max + offset
    if high - low == 127:
        low, high = 0, 255
    return q._replace(zero_point=q.zero_point + offset, quant_min=low, quant_max=high, dtype=torch.uint8)


def _warn_unobserved(gm: GraphModule) -> None:
    names = sorted({node.meta["observer"] for node in gm.graph.nodes if "observer" in node.meta})
    observers: list[Any] = [getattr(gm, name) for name in names]
    blind = [f"  {observer.where}" for observer in observers if not observer.observed]
    if blind:
        warnings.warn(
            f"{len(blind)} of {len(observers)} observers saw no data; with their scale of 1 the result is meaningless. "
            "Run fxquant.calibrate(prepared, batches), or prepared(x), before convert_fx. They watch:\n"
            + "\n".join(blind),
            CalibrationWarning,
            stacklevel=2,
        )
