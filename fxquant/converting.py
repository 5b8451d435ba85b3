"""From a calibrated model to one of integers, part by part."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant import interop
from fxquant.analysis.explain import explanation_of
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.graph.annotation import quant_of
from fxquant.graph.kept import meta_of, note
from fxquant.graph.parts import join, map_parts, nodes_of, parts_of
from fxquant.graph.pipeline import run_part
from fxquant.graph.selection import CONVERT, Selection, select
from fxquant.graph.surgery import fetch
from fxquant.graph.trace import in_eval_mode
from fxquant.ops.op import op_of
from fxquant.placement import MeasuredCosts, fastest
from fxquant.placement.partial import leave_float
from fxquant.runtime.quantized_module import QuantizedModule, finished
from fxquant.standalone import convert_standalone


def ready_to_convert(
    graph_module: nn.Module, convert_custom_config: Any, qconfig_mapping: Any, backend_config: Any
) -> nn.Module:
    """A copy of a prepared model, with what is said at its conversion. Raises ConfigError if it was not prepared."""
    if not isinstance(graph_module, nn.Module) or "qconfig_mapping" not in meta_of(graph_module):
        raise ConfigError("convert_fx takes what prepare_fx returned; call prepare_fx(model, mapping, inputs) first")
    if backend_config is not None and meta_of(graph_module)["backend_config"] is None:
        warnings.warn(
            "backend_config has no effect when converting; give it to prepare_fx", ConfigWarning, stacklevel=3
        )
    prepared = in_eval_mode(copy.deepcopy(graph_module))
    custom = interop.convert_custom_config(convert_custom_config)
    for each in (prepared, *(part for _, part in parts_of(prepared))):
        note(each, convert_custom_config=custom)
    if qconfig_mapping is None:
        return prepared
    return map_parts(prepared, partial(leave_float, mapping=interop.qconfig_mapping(qconfig_mapping)))


def original_weights(prepared: nn.Module) -> dict[str, list[Any]]:
    """The float [weight, bias or None] of each op of a prepared model that runs in int8, by the weight's name."""
    found: dict[str, list[Any]] = {}
    for part, node in nodes_of(prepared):
        row = op_of(node)
        if row is None or not quant_of(node).int8:
            continue
        arguments = row.bind(node)
        bias = arguments[row.bias] if row.bias else None
        for role in row.weights:
            weight: Node = arguments[role].all_input_nodes[0]  # behind its observer
            name = join(part.meta["part"], str(weight.target))
            found[name] = [fetch(part, weight), None if bias is None else fetch(part, bias)]
    return found


def converted_part(
    part: GraphModule, placement: str, passes: Sequence[Any], convert: Callable[..., nn.Module]
) -> QuantizedModule:
    """The int8 model of a prepared part; `convert` does the same for the standalone modules in it."""
    convert_standalone(part, convert)
    finish = partial(finished_part, selection=select(passes, CONVERT, "convert_fx"))
    return fastest(part, MeasuredCosts(), finish) if placement == "fastest" else finish(part)


def finished_part(converted: GraphModule, selection: Selection | None = None) -> QuantizedModule:
    """The stages from convert to plan."""
    for stage in ("convert", "fold", "lower"):
        converted = run_part(converted, stage, selection)
    explanation = explanation_of(converted)
    return _done(run_part(converted, "plan", selection), explanation=explanation)


def reference_part(part: GraphModule, passes: Sequence[Any], convert: Callable[..., nn.Module]) -> QuantizedModule:
    """The reference model of a prepared part; `convert` does the same for the standalone modules in it."""
    convert_standalone(part, convert)
    return _done(run_part(part, "convert", select(passes, CONVERT, "convert_to_reference_fx")))


_KEPT = ("name", "part", "captures", "standalone")


def _done(converted: GraphModule, **meta: Any) -> QuantizedModule:
    kept = {key: converted.meta[key] for key in _KEPT if key in converted.meta}
    return finished(converted, converted.meta["name"], {**meta, **kept, **_interface(converted)})


def _interface(converted: GraphModule) -> dict[str, Any]:
    """The qparams of the inputs and outputs that are integers, by index."""
    return {key: converted.meta.get(key, {}) for key in ("input_qparams", "output_qparams")}
