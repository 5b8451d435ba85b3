"""From what `prepare_fx` and `prepare_qat_fx` are given to a model that observes its values."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from fxquant import interop
from fxquant.backend_config import BackendConfig
from fxquant.custom_config import PrepareCustomConfig
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.graph.kept import attach_preserved_attrs_to_model, attributes_of, meta_of, note
from fxquant.graph.observed import observed
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.parts import captures_of, is_part, map_parts, nodes_of, parts_of
from fxquant.graph.pipeline import run_stage
from fxquant.graph.selection import PREPARE, Selection
from fxquant.graph.settled_weights import settled_copy
from fxquant.graph.trace import in_eval_mode, trace, unwrapped
from fxquant.qconfig_mapping import ObjectType, QConfigMapping
from fxquant.qconfig_mapping.keys import check_keys
from fxquant.runtime.quantized_module import QuantizedModule
from fxquant.standalone import leaves_of, mark_custom, prepare_standalone


def prepared_model(
    model: nn.Module,
    qconfig_mapping: Any,
    example_inputs: Any,
    prepare_custom_config: Any,
    backend_config: Any,
    selection: Selection,
    trains: bool = False,
) -> nn.Module:
    """What prepare_fx returns or, if the model `trains`, prepare_qat_fx, of a model in eval mode. Raises as they do."""
    model = unwrapped(model)
    _check_float(model)
    model = settled(model)
    if example_inputs is None:
        raise InputError("example_inputs is None; pass a tuple of what the model is called with, as forward(x) takes x")
    mapping = interop.qconfig_mapping(qconfig_mapping)
    custom = interop.prepare_custom_config(prepare_custom_config)
    backend = interop.backend_config(backend_config)
    report_ignored(backend)
    leaf_names, leaf_classes = leaves_of(custom)
    functions = [kind for kind in mapping.object_types() if callable(kind)]
    prepared: nn.Module = trace(
        model, example_inputs, leaf_names=leaf_names, leaf_classes=leaf_classes, leaf_functions=functions
    )
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
        prepare_standalone(part, partial(prepared_model, selection=selection))
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


def _check_float(model: Any) -> None:
    """Raises ConfigError for what prepare_fx or convert_fx returned."""
    notes = meta_of(model) if isinstance(model, nn.Module) else {}
    if isinstance(model, QuantizedModule) or "explanation" in notes:
        raise ConfigError("the model is in int8 already; prepare the float model that it was made from")
    if "qconfig_mapping" in notes:
        raise ConfigError("the model is prepared already; calibrate it and call convert_fx, or prepare the float model")


def settled(model: nn.Module) -> nn.Module:
    """`model`, or, if it is in training mode, a copy in eval mode; ConfigWarning if that one computes otherwise."""
    if not isinstance(model, nn.Module) or not any(module.training for module in model.modules()):
        return model
    names = [name for name, module in model.named_modules() if _differs_in_training(module)]
    if names:
        message = f"{names[0] or 'the model'} is in training mode; the model is quantized as it computes in eval mode"
        warnings.warn(message, ConfigWarning, stacklevel=4)
    return in_eval_mode(settled_copy(model))


_DIFFERENT_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)


def _differs_in_training(module: nn.Module) -> bool:
    return module.training and isinstance(module, _DIFFERENT_IN_TRAINING)


def _report_dropouts(traced: nn.Module) -> None:
    origins = _origins(traced)
    dropped = [str(origin) for origin in origins if "dropout" in origin.spelling_name.lower()]
    if dropped:
        message = f"no values are dropped in quantized training, at {'; '.join(dropped)}"
        warnings.warn(message, ConfigWarning, stacklevel=4)


def report_ignored(backend: BackendConfig | None) -> None:
    """Warns the caller of the caller's caller of what `backend` says in vain."""
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
    return [origin for _, node in nodes_of(traced) if (origin := origin_of(node)) is not None]
