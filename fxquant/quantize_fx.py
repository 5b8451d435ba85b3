"""The compiler's entry points: each reads as the way from a float model to an int8 one."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from fxquant import interop
from fxquant.backend_config import BackendConfig
from fxquant.custom_config import ConvertCustomConfig, FuseCustomConfig, PrepareCustomConfig
from fxquant.debug.explain import explanation_of
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.graph.annotation import quant_of
from fxquant.graph.observed import ObservedGraphModule, attach_preserved_attrs_to_model, attributes_of, observed
from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import run_stage
from fxquant.graph.surgery import fetch
from fxquant.graph.trace import trace
from fxquant.ops.op import op_of
from fxquant.placement import MeasuredCosts, fastest
from fxquant.placement.partial import leave_float
from fxquant.qconfig_mapping import ObjectType, QConfigMapping
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
) -> GraphModule:
    """Traces `model`, in eval mode, brings it into one vocabulary and folds batch norms. Float in, float out.

    With `example_inputs`, batch norms are folded also where the way to do so depends on the number of dimensions.
    """
    custom = interop.fuse_custom_config(fuse_custom_config)
    _report(interop.backend_config(backend_config))
    graph_module = trace(model, example_inputs)
    graph_module = run_stage(graph_module, "normalize")
    graph_module = run_stage(graph_module, "fuse")
    attach_preserved_attrs_to_model(graph_module, attributes_of(model, custom.preserved_attributes))
    return graph_module


def prepare_fx(
    model: nn.Module,
    qconfig_mapping: MappingLike,
    example_inputs: Any,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    _equalization_config: Any = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> ObservedGraphModule:
    """A copy of `model` that computes the same in float and observes its values.

    `example_inputs`: a tuple of positional or a dict of keyword arguments, as the model will be called; shapes but for
    the channels may differ later. `model` must be in eval mode, and is not modified. `backend_config` narrows down what
    may run in int8. Run the result on representative batches, with `calibrate` or by calling it, then hand it to
    `convert_fx`.

    Raises ConfigError (training mode, a key of the mapping that matches nothing), InputError (inputs that the model
    does not take) and TraceError (code that cannot be captured). Warns with ConfigWarning of settings without effect.
    """
    if _equalization_config is not None:
        warnings.warn("_equalization_config has no effect: weights are not equalized", ConfigWarning, stacklevel=2)
    return _prepare(model, qconfig_mapping, example_inputs, prepare_custom_config, backend_config)


def _prepare(
    model: nn.Module,
    qconfig_mapping: Any,
    example_inputs: Any,
    prepare_custom_config: Any,
    backend_config: Any,
    trains: bool = False,
) -> ObservedGraphModule:
    _check_float(model)
    model = _in_eval_mode(model)
    if example_inputs is None:
        raise InputError("example_inputs is None; pass a tuple of what the model is called with, as forward(x) takes x")
    mapping = interop.qconfig_mapping(qconfig_mapping)
    custom = interop.prepare_custom_config(prepare_custom_config)
    backend = interop.backend_config(backend_config)
    _report(backend)
    leaf_names, leaf_classes = leaves_of(custom)
    prepared = trace(model, example_inputs, leaf_names=leaf_names, leaf_classes=leaf_classes)
    if isinstance(qconfig_mapping, (QConfigMapping, dict)):  # torch.ao's defaults set types that few models have
        _check_keys(mapping, model, prepared)
    if trains:
        _report_dropouts(prepared)
    mark_custom(prepared, custom)
    prepared.meta.update(qconfig_mapping=mapping, prepare_custom_config=custom, backend_config=backend)
    for stage in ("normalize", "fuse", "annotate", "observe"):
        prepared = run_stage(prepared, stage)
    prepare_standalone(prepared, _prepare)
    made = observed(prepared)
    attach_preserved_attrs_to_model(made, attributes_of(model, custom.preserved_attributes))
    return made


PLACEMENTS = ("configured", "fastest")


def convert_fx(
    graph_module: GraphModule,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    keep_original_weights: bool = False,
    *,
    placement: str = "configured",
) -> QuantizedModule:
    """The int8 model that a calibrated `prepare_fx` result stands for. The prepared model is not modified.

    `qconfig_mapping`: that of `prepare_fx`, with None for what shall stay float after all. `backend_config` was used
    when preparing, and `_remove_qconfig` has no effect: no module carries a qconfig. `keep_original_weights`: the
    result's `original_weights_lookup` holds the float [weight, bias] of each int8 op under the name of its weight.
    `placement`: "configured" runs in int8 what the QConfigMapping says and a kernel can; "fastest" measures on this
    machine, at the example's shapes and with torch's current threads, and leaves in float what is faster there (see
    docs/placement.md).

    Warns with CalibrationWarning where an observer saw no data. Raises ConfigError if `graph_module` was not prepared,
    or for another `placement`.
    """
    if placement not in PLACEMENTS:
        raise ConfigError(f"placement={placement!r} is none of {', '.join(map(repr, PLACEMENTS))}")
    prepared = _ready(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    convert_standalone(prepared, partial(convert_fx, placement=placement))
    finish = partial(_converted, name=type(graph_module).__name__)
    made = fastest(prepared, MeasuredCosts(), finish) if placement == "fastest" else finish(copy.deepcopy(prepared))
    kept = attributes_of(graph_module, prepared.meta["convert_custom_config"].preserved_attributes)
    if keep_original_weights:
        kept["original_weights_lookup"] = original_weights(prepared)
    attach_preserved_attrs_to_model(made, kept)
    return made


def convert_to_reference_fx(
    graph_module: GraphModule,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> QuantizedModule:
    """The model that defines what `convert_fx` computes: float ops between quantize and dequantize of plain tensors.

    Arguments as of `convert_fx`.
    """
    prepared = _ready(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    convert_standalone(prepared, convert_to_reference_fx)
    made = finished(run_stage(prepared, "convert"), type(graph_module).__name__, _interface(prepared))
    kept = attributes_of(graph_module, prepared.meta["convert_custom_config"].preserved_attributes)
    attach_preserved_attrs_to_model(made, kept)
    return made


def _convert_to_reference_decomposed_fx(
    graph_module: GraphModule,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    qconfig_mapping: MappingLike | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> QuantizedModule:
    """The same as `convert_to_reference_fx`, whose tensors are plain ones in any case."""
    return convert_to_reference_fx(graph_module, convert_custom_config, True, qconfig_mapping, backend_config)


def prepare_qat_fx(
    model: nn.Module,
    qconfig_mapping: MappingLike,
    example_inputs: Any,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> ObservedGraphModule:
    """A copy of `model`, in its mode, that computes with fake-quantizes; train it, then hand it to `convert_fx`.

    Batch norms are folded first, with the statistics that they have: fine-tune a trained model. Dropout is left out,
    of which ConfigWarning warns. Arguments and errors as of `prepare_fx`, but `model` may be in training mode.
    """
    settled = copy.deepcopy(model).eval()
    prepared = _prepare(settled, qconfig_mapping, example_inputs, prepare_custom_config, backend_config, trains=True)
    return prepared.train(model.training)


def original_weights(prepared: GraphModule) -> dict[str, list[Any]]:
    """The float [weight, bias or None] of each op of a prepared graph that runs in int8, by the weight's name."""
    found: dict[str, list[Any]] = {}
    for node in prepared.graph.nodes:
        row = op_of(node)
        if row is None or row.weight is None or not quant_of(node).int8:
            continue
        arguments = row.bind(node)
        weight: Node = arguments[row.weight].all_input_nodes[0]  # behind its observer
        bias = arguments[row.bias] if row.bias else None
        found[str(weight.target)] = [fetch(prepared, weight), None if bias is None else fetch(prepared, bias)]
    return found


def _ready(
    graph_module: GraphModule, convert_custom_config: Any, qconfig_mapping: Any, backend_config: Any
) -> GraphModule:
    """A copy of a prepared model, with what is said at its conversion."""
    if not isinstance(graph_module, GraphModule) or "qconfig_mapping" not in graph_module.meta:
        raise ConfigError("convert_fx takes what prepare_fx returned; call prepare_fx(model, mapping, inputs) first")
    if backend_config is not None and graph_module.meta["backend_config"] is None:
        warnings.warn(
            "backend_config has no effect when converting; give it to prepare_fx", ConfigWarning, stacklevel=3
        )
    prepared = copy.deepcopy(graph_module).eval()
    prepared.meta["convert_custom_config"] = interop.convert_custom_config(convert_custom_config)
    if qconfig_mapping is not None:
        prepared = leave_float(prepared, interop.qconfig_mapping(qconfig_mapping))
    return prepared


def _converted(converted: GraphModule, name: str) -> QuantizedModule:
    for stage in ("convert", "fold", "lower"):
        converted = run_stage(converted, stage)
    explanation = explanation_of(converted)
    meta = {"explanation": explanation, **_interface(converted)}
    return finished(run_stage(converted, "plan"), name, meta)


def _interface(converted: GraphModule) -> dict[str, Any]:
    """The qparams of the inputs and outputs that are integers, by index."""
    return {key: converted.meta.get(key, {}) for key in ("input_qparams", "output_qparams")}


def _check_float(model: nn.Module) -> None:
    if isinstance(model, QuantizedModule):
        raise ConfigError("the model is in int8 already; prepare the float model that it was made from")
    if isinstance(model, GraphModule) and "qconfig_mapping" in model.meta:
        raise ConfigError("the model is prepared already; calibrate it and call convert_fx, or prepare the float model")


def _in_eval_mode(model: nn.Module) -> nn.Module:
    """`model`, or, if it is in training mode but computes the same in both, a copy in eval mode."""
    if not isinstance(model, nn.Module) or not any(module.training for module in model.modules()):
        return model
    if any(isinstance(module, _DIFFERENT_IN_TRAINING) for module in model.modules()):
        return model  # which the tracer refuses
    return copy.deepcopy(model).eval()


_DIFFERENT_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)


def _report_dropouts(traced: GraphModule) -> None:
    origins = [origin for node in traced.graph.nodes if (origin := origin_of(node)) is not None]
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


def _check_keys(mapping: QConfigMapping, model: nn.Module, traced: GraphModule) -> None:
    """Every name and type that the user set must occur in the model."""
    origins = [origin for node in traced.graph.nodes if (origin := origin_of(node)) is not None]
    types: set[ObjectType] = {o.spelling for o in origins} | {type(m) for m in model.modules()}
    mapping.check_keys({name for name, _ in model.named_modules()}, types)
