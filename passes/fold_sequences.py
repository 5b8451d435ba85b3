"""nn.LSTM(x, ...)   ->   the same of int8 weights, with scales that are found at run time

of the modules that annotate_sequences chose: those with projections, and those that take a PackedSequence.
"""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant.graph.pipeline import register_pass

from .annotate_sequences import SEQUENCE_QCONFIG


@register_pass(stage="fold")
def fold_sequences(gm: GraphModule) -> GraphModule:
    from fxquant.quantize_dynamic import get_default_dynamic_quant_module_mappings  # which needs passes itself

    kinds = get_default_dynamic_quant_module_mappings()
    for node in gm.graph.nodes:
        module = gm.get_submodule(str(node.target)) if SEQUENCE_QCONFIG in node.meta else None
        if module is not None and type(module) in kinds:  # else a call before has replaced it
            gm.set_submodule(str(node.target), kinds[type(module)](module, node.meta[SEQUENCE_QCONFIG], {}))
    return gm
