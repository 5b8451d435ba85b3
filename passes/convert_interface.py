"""model(x: float) -> float   ->   model(q: uint8) -> uint8, for the inputs and outputs that the user wants as integers.

gm.meta["input_qparams"] and ["output_qparams"] hold their qparams, by index.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.interface import inputs_of, output_of, outputs_of
from fxquant.graph.pipeline import register_pass


@register_pass(stage="convert")
def convert_interface(gm: GraphModule) -> GraphModule:
    custom = gm.meta.get("prepare_custom_config")
    if custom is None:
        return gm
    outputs = outputs_of(gm)
    gm.meta["output_qparams"] = {index: _give(gm, outputs[index]) for index in custom.output_quantized_indexes}
    inputs = inputs_of(gm)
    gm.meta["input_qparams"] = {index: _take(inputs[index]) for index in custom.input_quantized_indexes}
    return surgery.clean(gm)


def _take(x: Node) -> object:
    """Lets the placeholder `x` stand for its own integers."""
    integer = next(user for user in x.users if user.target is ops.quantize)
    surgery.replace(integer, x)
    x.meta.update(dtype=torch.uint8, qparams=integer.meta["qparams"])
    return integer.meta["qparams"]


def _give(gm: GraphModule, value: Node) -> object:
    """Lets the output give the integers that `value`, a dequantize, reads."""
    integer = value.args[0]
    assert isinstance(integer, Node)
    surgery.replace_in(integer, value, [output_of(gm)])
    return integer.meta["qparams"]
