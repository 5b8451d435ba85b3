"""observed module -> QuantizedClass.from_observed(module), where the user gave such a class.

The observer of what the module gives is its `activation_post_process` by then. Both classes take and give float32; so
do the quantized layers of torch.ao in what it makes, in place of which we put some of our own.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant.custom_config_forms import made_of
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.interop import as_given
from fxquant.interop_layers import in_floats


@register_pass(stage="convert")
def convert_custom(gm: GraphModule) -> GraphModule:
    custom = gm.meta.get("convert_custom_config")
    mapping = custom.observed_to_quantized_mapping if custom is not None else {}
    quantized = {old: new for classes in mapping.values() for old, new in classes.items()}
    for node in gm.graph.nodes:
        module: Any = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
        qconfig = node.meta["qconfig"].qconfig if type(module) in quantized else None
        if qconfig is None:
            continue
        if "observer" in node.meta and not hasattr(module, "activation_post_process"):
            module.activation_post_process = getattr(gm, node.meta["observer"])
        made = made_of(module, quantized[type(module)], "from_observed", where(node), as_given(qconfig))
        gm.set_submodule(str(node.target), in_floats(made))
    return gm
