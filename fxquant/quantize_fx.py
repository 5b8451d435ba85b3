"""The compiler's entry points: each reads as the way from a float model to an int8 one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.fx import GraphModule

from fxquant.custom_config import PrepareCustomConfig
from fxquant.debug.explain import explanation_of
from fxquant.errors import ConfigError
from fxquant.graph.origin import origin_of
from fxquant.graph.parts import map_parts, parts_of
from fxquant.graph.pipeline import run_part, run_stage
from fxquant.graph.trace import trace, unwrapped
from fxquant.placement import MeasuredCosts, fastest
from fxquant.qconfig_mapping import ObjectType, QConfigMapping
from fxquant.runtime.quantized_module import QuantizedModule, finished


def fuse_fx(model: nn.Module, example_inputs: Any) -> nn.Module:
    """Traces `model`, brings it into one vocabulary and folds batch norms. Float in, float out."""
    captured: nn.Module = trace(model, example_inputs)
    for stage in ("normalize", "fuse"):
        captured = run_stage(captured, stage)
    return captured


def prepare_fx(
    model: nn.Module,
    qconfig_mapping: QConfigMapping | dict[str, Any],
    example_inputs: Any,
    prepare_custom_config: PrepareCustomConfig | None = None,
) -> nn.Module:
    """A copy of `model` that computes the same in float and observes its values.

    `example_inputs`: a tuple of positional or a dict of keyword arguments, as the model will be called; shapes but for
    the channels may differ later. `model` must be in eval mode, and is not modified. Run the result on representative
    batches, with `calibrate` or by calling it, then hand it to `convert_fx`.

    Raises ConfigError (training mode, a key of the mapping that matches nothing), InputError (inputs that the model
    does not take) and TraceError (code that cannot be captured).
    """
    model = unwrapped(model)
    _check_float(model)
    mapping = _mapping(qconfig_mapping)
    custom = prepare_custom_config or PrepareCustomConfig()
    if not isinstance(custom, PrepareCustomConfig):
        raise ConfigError(f"prepare_custom_config is a {type(custom).__name__}; pass a PrepareCustomConfig")
    prepared: nn.Module = trace(
        model,
        example_inputs,
        leaf_names=custom.non_traceable_module_names,
        leaf_classes=custom.non_traceable_module_classes,
    )
    _check_keys(mapping, model, prepared)
    for _, part in parts_of(prepared):
        part.meta["qconfig_mapping"] = mapping
    for stage in ("normalize", "fuse", "annotate", "observe"):
        prepared = run_stage(prepared, stage)
    return prepared


PLACEMENTS = ("configured", "fastest")


def convert_fx(graph_module: nn.Module, placement: str = "configured") -> nn.Module:
    """The int8 model that a calibrated `prepare_fx` result stands for. The prepared model is not modified.

    `placement`: "configured" runs in int8 what the QConfigMapping says and a kernel can; "fastest" measures on this
    machine, at the example's shapes and with torch's current threads, and leaves in float what is faster there (see
    docs/placement.md).

    Warns with CalibrationWarning where an observer saw no data. Raises ConfigError if `graph_module` was not prepared,
    or for another `placement`.
    """
    if placement not in PLACEMENTS:
        raise ConfigError(f"placement={placement!r} is none of {', '.join(map(repr, PLACEMENTS))}")
    if not _is_prepared(graph_module):
        raise ConfigError("convert_fx takes what prepare_fx returned; call prepare_fx(model, mapping, inputs) first")
    names = {part.meta["part"]: type(part).__name__ for _, part in parts_of(graph_module)}
    return map_parts(copy.deepcopy(graph_module), partial(_converted, placement=placement, names=names))


def _converted(part: GraphModule, placement: str, names: dict[str, str]) -> QuantizedModule:
    finish = partial(_finished, name=names[part.meta["part"]])
    return fastest(part, MeasuredCosts(), finish) if placement == "fastest" else finish(part)


def _finished(converted: GraphModule, name: str) -> QuantizedModule:
    kept: dict[str, Any] = {key: converted.meta[key] for key in ("part", "captures") if key in converted.meta}
    for stage in ("convert", "fold", "lower"):
        converted = run_part(converted, stage)
    explanation = explanation_of(converted)
    return finished(run_part(converted, "plan"), name, {"explanation": explanation, **kept})


def _is_prepared(model: Any) -> bool:
    parts = [part for _, part in parts_of(model)] if isinstance(model, nn.Module) else []
    return bool(parts) and all("qconfig_mapping" in part.meta for part in parts)


def _check_float(model: nn.Module) -> None:
    if any(isinstance(module, QuantizedModule) for module in _modules(model)):
        raise ConfigError("the model is in int8 already; prepare the float model that it was made from")
    if any(isinstance(module, GraphModule) and "qconfig_mapping" in module.meta for module in _modules(model)):
        raise ConfigError("the model is prepared already; calibrate it and call convert_fx, or prepare the float model")


def _modules(model: Any) -> Iterator[nn.Module]:
    return model.modules() if isinstance(model, nn.Module) else iter(())


def _mapping(qconfig_mapping: QConfigMapping | dict[str, Any]) -> QConfigMapping:
    if isinstance(qconfig_mapping, dict):
        return QConfigMapping.from_dict(qconfig_mapping)
    if not isinstance(qconfig_mapping, QConfigMapping):
        raise ConfigError(
            f"qconfig_mapping is a {type(qconfig_mapping).__name__}; pass get_default_qconfig_mapping(), "
            "a QConfigMapping or its dict form"
        )
    return copy.deepcopy(qconfig_mapping)


def _check_keys(mapping: QConfigMapping, model: nn.Module, traced: nn.Module) -> None:
    """Every name and type that the user set must occur in the model."""
    nodes = [node for _, part in parts_of(traced) for node in part.graph.nodes]
    origins = [origin for node in nodes if (origin := origin_of(node)) is not None]
    types: set[ObjectType] = {o.spelling for o in origins} | {type(m) for m in model.modules()}
    mapping.check_keys({name for name, _ in model.named_modules()}, types)
