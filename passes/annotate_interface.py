"""What no int8 op reads or writes is watched too, where the user wants it so.

That is what goes in or out of the model as integers, and what custom modules give: their classes want an observer.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.errors import ConfigError
from fxquant.graph import surgery
from fxquant.graph.annotation import decide, quant_of
from fxquant.graph.interface import inputs_of, outputs_of
from fxquant.graph.pipeline import register_pass
from fxquant.quant_type import QuantType


@register_pass(stage="annotate")
def annotate_interface(gm: GraphModule) -> GraphModule:
    custom = gm.meta.get("prepare_custom_config")
    if custom is None:
        return gm
    inputs = _at(inputs_of(gm), custom.input_quantized_indexes, "input_quantized_indexes")
    outputs = _at(outputs_of(gm), custom.output_quantized_indexes, "output_quantized_indexes")
    groups = [quant_of(node).group for node in gm.graph.nodes]
    free = max((group for group in groups if group is not None), default=-1) + 1
    for node in dict.fromkeys([*inputs, *outputs, *_custom(gm)]):
        decide(node, border=node in (*inputs, *outputs))
        if quant_of(node).group is None:
            decide(node, group=free, observe=True)
            free += 1
    return gm


def _custom(gm: GraphModule) -> list[Node]:
    """The calls of modules that become observed ones of static quantization, where they give a tensor."""
    classes = gm.meta["prepare_custom_config"].float_to_observed_mapping
    wanted = {kind for quant_type in (QuantType.STATIC, QuantType.QAT) for kind in classes.get(quant_type, {})}
    calls = [node for node in gm.graph.nodes if node.op == "call_module" and node.meta.get("qconfig")]
    of_kind = [node for node in calls if type(gm.get_submodule(str(node.target))) in wanted]
    return [node for node in of_kind if node.meta["qconfig"].qconfig is not None and surgery.is_tensor(node)]


def _at(nodes: list[Node], indexes: list[int], setting: str) -> list[Node]:
    if wrong := [index for index in indexes if index not in range(len(nodes))]:
        raise ConfigError(f"{setting} has {wrong}; the model has {len(nodes)} of them, from 0")
    return [nodes[index] for index in indexes]
