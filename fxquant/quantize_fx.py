"""The compiler's entry points: each reads as the way from a float model to an int8 one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant import interop
from fxquant.analysis.explain import explanation_of
from fxquant.backend_config import BackendConfig
from fxquant.custom_config import ConvertCustomConfig, FuseCustomConfig, PrepareCustomConfig
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.graph.annotation import quant_of
from fxquant.graph.kept import attach_preserved_attrs_to_model, attributes_of, meta_of, note, renote
from fxquant.graph.observed import ObservedGraphModule, observed
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.parts import captures_of, is_part, join, map_parts, parts_of
from fxquant.graph.pipeline import run_part, run_stage
from fxquant.graph.selection import CONVERT, PREPARE, Selection, select
from fxquant.graph.settled_weights import settled_copy
from fxquant.graph.surgery import fetch
from fxquant.graph.trace import in_eval_mode, trace, unwrapped
from fxquant.ops.op import op_of
from fxquant.placement import MeasuredCosts, fastest
from fxquant.placement.partial import leave_float
from fxquant.qconfig_mapping import ObjectType, QConfigMapping
from fxquant.qconfig_mapping.keys import check_keys
from fxquant.runtime.quantized_module import QuantizedModule, finished
from fxquant.standalone import convert_standalone, leaves_of, mark_custom, prepare_standalone

__all__ = [
    "ObservedGraphModule",
    "attach_preserved_attrs_to_model",
    "convert_fx",
    "convert_to_reference_fx",
    "fuse_fx",
    "prepare_fx",
    "prepare_qat_fx",
]

MappingLike = QConfigMapping | dict[str, Any]


def fuse_fx(
    model: nn.Module,
    fuse_custom_config: FuseCustomConfig | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    example_inputs: Any = None,
) -> nn.Module:
    """Traces `model`, in eval mode, brings it into one vocabulary and folds batch norms. Float in, float out.

    With `example_inputs`, batch norms are folded also where the way to do so depends on the number of dimensions.
    """
    custom = interop.fuse_custom_config(fuse_custom_config)
    _report(interop.backend_config(backend_config))
    model = unwrapped(model)
    fused: nn.Module = trace(model, example_inputs)
    for stage in ("normalize", "fuse"):
        fused = run_stage(fused, stage)
    attach_preserved_attrs_to_model(fused, attributes_of(model, custom.preserved_attributes))
    return fused


def prepare_fx(
    model: nn.Module,
    qconfig_mapping: MappingLike,
    example_inputs: Any,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    _equalization_config: Any = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    passes: Sequence[Any] = (),
) -> nn.Module:
    """A copy of `model` that computes the same in float and observes its values.

    `example_inputs`: a tuple of positional or a dict of keyword arguments, as the model will be called; shapes but for
    the channels may differ later. `model` must be in eval mode, and is not modified. `backend_config` narrows down what
    may run in int8. Run the result on representative batches, with `calibrate` or by calling it, then hand it to
    `convert_fx`.

    `passes`: what this call runs besides, or not: names of optional passes, decorated passes, instances of a pass's
    dataclass with options, and `without(name)` for what it leaves out. The stages are normalize, fuse, annotate and
    observe.

    Raises ConfigError (training mode, a key of the mapping that matches nothing), InputError (inputs that the model
    does not take) and TraceError (code that cannot be captured). Warns with ConfigWarning of settings without effect.
    """
    if _equalization_config is not None:
        warnings.warn("_equalization_config has no effect: weights are not equalized", ConfigWarning, stacklevel=2)
    selection = select(passes, PREPARE, "prepare_fx")
    return _prepare(model, qconfig_mapping, example_inputs, prepare_custom_config, backend_config, selection)


def _prepare(
    model: nn.Module,
    qconfig_mapping: Any,
    example_inputs: Any,
    prepare_custom_config: Any,
    backend_config: Any,
    selection: Selection,
    trains: bool = False,
) -> nn.Module:
    model = unwrapped(model)
    _check_float(model)
    model = _settled(model)
    if example_inputs is None:
        raise InputError("example_inputs is None; pass a tuple of what the model is called with, as forward(x) takes x")
    mapping = interop.qconfig_mapping(qconfig_mapping)
    custom = interop.prepare_custom_config(prepare_custom_config)
    backend = interop.backend_config(backend_config)
    _report(backend)
    leaf_names, leaf_classes = leaves_of(custom)
    prepared: nn.Module = trace(model, example_inputs, leaf_names=leaf_names, leaf_classes=leaf_classes)
    if isinstance(qconfig_mapping, (QConfigMapping, dict)):  # torch.ao's defaults set types that few models have
        _check_keys(mapping, model, prepared)
    if trains:
        _report_dropouts(prepared)
    _configure(prepared, mapping, custom, backend)
    for _, part in parts_of(prepared):
        note(part, trains=trains)
    for stage in PREPARE:
        prepared = run_stage(prepared, stage, selection)
    for _, part in parts_of(prepared):
        prepare_standalone(part, partial(_prepare, selection=selection))
    made = map_parts(prepared, observed)
    attach_preserved_attrs_to_model(made, attributes_of(model, custom.preserved_attributes))
    return made


def _configure(
    prepared: nn.Module, mapping: QConfigMapping, custom: PrepareCustomConfig, backend: BackendConfig | None
) -> None:
    """Tells the model and its parts what the user set. Integers go in and out of the whole model alone."""
    if not is_part(prepared) and (custom.input_quantized_indexes or custom.output_quantized_indexes):
        raise ConfigError(
            "input_quantized_indexes and output_quantized_indexes need the model as one graph, but its own code runs "
            f"as Python: {captures_of(prepared)[0].reason}"
        )
    within = replace(custom, input_quantized_indexes=[], output_quantized_indexes=[])
    for _, part in parts_of(prepared):
        mark_custom(part, custom)
        note(part, qconfig_mapping=mapping, prepare_custom_config=within, backend_config=backend)
    note(prepared, qconfig_mapping=mapping, prepare_custom_config=custom, backend_config=backend)


PLACEMENTS = ("configured", "fastest")


def convert_fx(
    graph_module: nn.Module,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    keep_original_weights: bool = False,
    *,
    placement: str = "configured",
    passes: Sequence[Any] = (),
) -> nn.Module:
    """The int8 model that a calibrated `prepare_fx` result stands for. The prepared model is not modified.

    `qconfig_mapping`: that of `prepare_fx`, with None for what shall stay float after all. `backend_config` was used
    when preparing, and `_remove_qconfig` has no effect: no module carries a qconfig. `keep_original_weights`: the
    result's `original_weights_lookup` holds the float [weight, bias] of each int8 op under the name of its weight.
    `placement`: "configured" runs in int8 what the QConfigMapping says and a kernel can; "fastest" measures on this
    machine, at the example's shapes and with torch's current threads, and leaves in float what is faster there (see
    docs/placement.md). `passes`: as of `prepare_fx`; the stages are convert, fold, lower and plan.

    Warns with CalibrationWarning where an observer saw no data. Raises ConfigError if `graph_module` was not prepared,
    or for another `placement`.
    """
    if placement not in PLACEMENTS:
        raise ConfigError(f"placement={placement!r} is none of {', '.join(map(repr, PLACEMENTS))}")
    select(passes, CONVERT, "convert_fx")  # raises before anything is done
    prepared = _ready(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    kept = attributes_of(graph_module, meta_of(prepared)["convert_custom_config"].preserved_attributes)
    if keep_original_weights:
        kept["original_weights_lookup"] = original_weights(prepared)
    made = map_parts(prepared, partial(_converted, placement=placement, passes=passes))
    if not is_part(made):
        renote(made, captures=captures_of(made), explanation=())
    attach_preserved_attrs_to_model(made, kept)
    return made


def convert_to_reference_fx(
    graph_module: nn.Module,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    passes: Sequence[Any] = (),
) -> nn.Module:
    """The model that defines what `convert_fx` computes: float ops between quantize and dequantize of plain tensors.

    Arguments and errors as of `convert_fx`; of the stages that `passes` is for, only convert runs here.
    """
    select(passes, CONVERT, "convert_to_reference_fx")  # raises before anything is done
    prepared = _ready(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    kept = attributes_of(graph_module, meta_of(prepared)["convert_custom_config"].preserved_attributes)
    made = map_parts(prepared, partial(_referenced, passes=passes))
    if not is_part(made):
        renote(made, captures=captures_of(made))
    attach_preserved_attrs_to_model(made, kept)
    return made


def _convert_to_reference_decomposed_fx(
    graph_module: nn.Module,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> nn.Module:
    """The same as `convert_to_reference_fx`, whose tensors are plain ones in any case."""
    return convert_to_reference_fx(graph_module, convert_custom_config, True, qconfig_mapping, backend_config)


def prepare_qat_fx(
    model: nn.Module,
    qconfig_mapping: MappingLike,
    example_inputs: Any,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    passes: Sequence[Any] = (),
) -> nn.Module:
    """A copy of `model`, in its mode, that computes with fake-quantizes; train it, then hand it to `convert_fx`.

    Batch norms are folded first, with the statistics that they have: fine-tune a trained model. Dropout is left out,
    of which ConfigWarning warns. Arguments and errors as of `prepare_fx`, but `model` may be in training mode.
    """
    selection = select(passes, PREPARE, "prepare_qat_fx")
    model = unwrapped(model)
    settled = in_eval_mode(settled_copy(model)) if isinstance(model, nn.Module) else model
    prepared = _prepare(
        settled, qconfig_mapping, example_inputs, prepare_custom_config, backend_config, selection, trains=True
    )
    return prepared.train(model.training)


def original_weights(prepared: nn.Module) -> dict[str, list[Any]]:
    """The float [weight, bias or None] of each op of a prepared model that runs in int8, by the weight's name."""
    found: dict[str, list[Any]] = {}
    for part, node in _nodes(prepared):
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


def _ready(graph_module: nn.Module, convert_custom_config: Any, qconfig_mapping: Any, backend_config: Any) -> nn.Module:
    """A copy of a prepared model, with what is said at its conversion."""
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


def _converted(part: GraphModule, placement: str, passes: Sequence[Any]) -> QuantizedModule:
    convert_standalone(part, partial(convert_fx, placement=placement, passes=passes))
    finish = partial(_finished, selection=select(passes, CONVERT, "convert_fx"))
    return fastest(part, MeasuredCosts(), finish) if placement == "fastest" else finish(part)


def _finished(converted: GraphModule, selection: Selection | None = None) -> QuantizedModule:
    for stage in ("convert", "fold", "lower"):
        converted = run_part(converted, stage, selection)
    explanation = explanation_of(converted)
    return _done(run_part(converted, "plan", selection), explanation=explanation)


def _referenced(part: GraphModule, passes: Sequence[Any]) -> QuantizedModule:
    convert_standalone(part, partial(convert_to_reference_fx, passes=passes))
    return _done(run_part(part, "convert", select(passes, CONVERT, "convert_to_reference_fx")))


_KEPT = ("name", "part", "captures", "standalone")


def _done(converted: GraphModule, **meta: Any) -> QuantizedModule:
    kept = {key: converted.meta[key] for key in _KEPT if key in converted.meta}
    return finished(converted, converted.meta["name"], {**meta, **kept, **_interface(converted)})


def _interface(converted: GraphModule) -> dict[str, Any]:
    """The qparams of the inputs and outputs that are integers, by index."""
    return {key: converted.meta.get(key, {}) for key in ("input_qparams", "output_qparams")}


def _check_float(model: Any) -> None:
    notes = meta_of(model) if isinstance(model, nn.Module) else {}
    if isinstance(model, QuantizedModule) or "explanation" in notes:
        raise ConfigError("the model is in int8 already; prepare the float model that it was made from")
    if "qconfig_mapping" in notes:
        raise ConfigError("the model is prepared already; calibrate it and call convert_fx, or prepare the float model")


def _settled(model: nn.Module) -> nn.Module:
    """`model`, or, if it is in training mode but computes the same in both, a copy in eval mode."""
    if not isinstance(model, nn.Module) or not any(module.training for module in model.modules()):
        return model
    if any(isinstance(module, _DIFFERENT_IN_TRAINING) for module in model.modules()):
        return model  # which the tracer refuses
    return in_eval_mode(settled_copy(model))


_DIFFERENT_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)


def _report_dropouts(traced: nn.Module) -> None:
    origins = _origins(traced)
    dropped = [str(origin) for origin in origins if "dropout" in origin.spelling_name.lower()]
    if dropped:
        message = f"no values are dropped in quantized training, at {'; '.join(dropped)}"
        warnings.warn(message, ConfigWarning, stacklevel=4)


def _report(backend: BackendConfig | None) -> None:
    if backend is not None and (ignored := backend.ignored):
        warnings.warn(
            f"of the BackendConfig {backend.name!r} these have no effect, since fxquant fuses by its own passes: "
            + ", ".join(ignored),
            ConfigWarning,
            stacklevel=4,
        )


def _check_keys(mapping: QConfigMapping, model: nn.Module, traced: nn.Module) -> None:
    """Every name and type that the user set must occur in the model."""
    types: set[ObjectType] = {o.spelling for o in _origins(traced)} | {type(m) for m in model.modules()}
    check_keys(mapping, {name for name, _ in model.named_modules()}, types)


def _origins(traced: nn.Module) -> list[Origin]:
    return [origin for _, node in _nodes(traced) if (origin := origin_of(node)) is not None]


def _nodes(model: nn.Module) -> Iterator[tuple[GraphModule, Node]]:
    return ((part, node) for _, part in parts_of(model) for node in part.graph.nodes)
