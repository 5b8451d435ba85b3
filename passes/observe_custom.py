"""float module -> ObservedClass.from_float(module), where the user gave such a class and the module has a qconfig.

The qconfig is told as the user wrote it: a class of torch.ao's makes observers of torch.ao's by it.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant.custom_config_forms import made_of
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.interop import as_given
from fxquant.qconfig import QConfig
from fxquant.quant_type import quant_type_of


@register_pass(stage="observe")
def observe_custom(gm: GraphModule) -> GraphModule:
    custom = gm.meta.get("prepare_custom_config")
    classes = custom.float_to_observed_mapping if custom is not None else {}
    for node in list(gm.graph.nodes):
        if node.op != "call_module" or "qconfig" not in node.meta or not classes:
            continue
        module: Any = gm.get_submodule(str(node.target))
        qconfig: QConfig | None = node.meta["qconfig"].qconfig
        if qconfig is None:
            continue
        observed: Any = classes.get(quant_type_of(qconfig), {}).get(type(module))
        if observed is None:
            continue
        given = as_given(qconfig)
        made: Any = made_of(module, observed, "from_float", where(node), given)
        made.qconfig = given
        gm.set_submodule(str(node.target), made)
    return gm
