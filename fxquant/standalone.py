"""Modules that the user wants prepared and converted on their own, each as one call of the model around it.

    model(x) = g(standalone(f(x)))     standalone -> prepare_fx(standalone, …) -> convert_fx(standalone)

By default they take and give float32; where their own config asks for integers, the model around them quantizes what
goes in, and dequantizes what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.custom_config import PrepareCustomConfig, StandaloneModuleConfigEntry
from fxquant.graph import surgery
from fxquant.graph.observed import ObservedGraphModule
from fxquant.qconfig_mapping import QConfigMapping

Prepare = Callable[[nn.Module, Any, Any, Any, Any], ObservedGraphModule]
Convert = Callable[[GraphModule], GraphModule]


def leaves_of(custom: PrepareCustomConfig) -> tuple[list[str], list[type[nn.Module]]]:
    """The names and the classes of modules that are called as a whole."""
    float_classes = [kind for classes in custom.float_to_observed_mapping.values() for kind in classes]
    return (
        [*custom.non_traceable_module_names, *custom.standalone_module_names],
        [*custom.non_traceable_module_classes, *custom.standalone_module_classes, *float_classes],
    )


def mark_custom(traced: GraphModule, custom: PrepareCustomConfig) -> None:
    """Notes the calls that no pass may take for what their class extends, with the reason that `explain` shows."""
    float_classes = tuple(kind for classes in custom.float_to_observed_mapping.values() for kind in classes)
    for node in _module_calls(traced):
        module = traced.get_submodule(str(node.target))
        if _entry(node, module, custom) is not None:
            node.meta["custom"] = "it is a standalone module, prepared on its own"
        elif type(module) in float_classes:
            node.meta["custom"] = "it is a custom module: its own classes say how it is quantized"


def prepare_standalone(prepared: GraphModule, prepare: Prepare) -> None:
    """Puts prepared modules in place of the standalone ones, if the model's mapping or their own has a qconfig."""
    custom: PrepareCustomConfig = prepared.meta["prepare_custom_config"]
    for node in _module_calls(prepared):
        path = str(node.target)
        module = prepared.get_submodule(path)
        entry = _entry(node, module, custom)
        if entry is None or isinstance(module, ObservedGraphModule):
            continue
        mapping = entry.qconfig_mapping
        if mapping is None:
            mapping = QConfigMapping().set_global(node.meta["qconfig"].qconfig)
        made = prepare(module, mapping, entry.example_inputs, entry.prepare_custom_config, entry.backend_config)
        prepared.set_submodule(path, made)


def convert_standalone(prepared: GraphModule, convert: Convert) -> None:
    """Puts converted modules in place of the prepared ones, with conversions where their borders are integers."""
    for node in _module_calls(prepared):
        module = prepared.get_submodule(str(node.target))
        if isinstance(module, ObservedGraphModule):
            made: Any = convert(module)
            prepared.set_submodule(str(node.target), made)
            _quantize_inputs(node, made.meta["input_qparams"])
            _dequantize_outputs(node, made.meta["output_qparams"])
    prepared.recompile()


def _module_calls(gm: GraphModule) -> list[Node]:
    return [node for node in gm.graph.nodes if node.op == "call_module"]


def _entry(node: Node, module: nn.Module, custom: PrepareCustomConfig) -> StandaloneModuleConfigEntry | None:
    by_name = custom.standalone_module_names.get(str(node.target))
    by_class = (entry for kind, entry in custom.standalone_module_classes.items() if isinstance(module, kind))
    return by_name or next(by_class, None)


def _quantize_inputs(call: Node, qparams: dict[int, Any]) -> None:
    for index, q in qparams.items():
        x = call.all_input_nodes[index]
        integer: Node = surgery.emit(call, ops.quantize, x, q)
        integer.meta.update({**x.meta, "qparams": q})
        surgery.replace_in(integer, x, [call])


def _dequantize_outputs(call: Node, qparams: dict[int, Any]) -> None:
    for index, q in qparams.items():
        parts = [user for user in call.users if user.target is ops.getitem and user.args[1] == index]
        for value in parts or [call]:
            value.meta["qparams"] = q
            real = surgery.insert_after(
                value,
                lambda x, q=q: surgery.emit(surgery.next_node(x), ops.dequantize, x, q),  # type: ignore[misc]
            )
            real.meta.update({key: value.meta[key] for key in ("shape", "dtype", "quant") if key in value.meta})
            if "observer" in value.meta:
                real.meta["observer"] = value.meta.pop("observer")
