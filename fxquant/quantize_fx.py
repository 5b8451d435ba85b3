"""The compiler's entry points: each reads as the way from a float model to an int8 one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from fxquant import interop
from fxquant.backend_config import BackendConfig
from fxquant.converting import converted_part, original_weights, ready_to_convert, reference_part
from fxquant.custom_config import ConvertCustomConfig, FuseCustomConfig, PrepareCustomConfig
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.graph.kept import attach_preserved_attrs_to_model, attributes_of, meta_of, renote
from fxquant.graph.observed import ObservedGraphModule
from fxquant.graph.parts import captures_of, is_part, map_parts
from fxquant.graph.pipeline import run_stage
from fxquant.graph.selection import CONVERT, PREPARE, select
from fxquant.graph.settled_weights import settled_copy
from fxquant.graph.trace import in_eval_mode, trace, unwrapped
from fxquant.preparing import prepared_model, report_ignored, settled
from fxquant.qconfig_mapping import QConfigMapping

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
    report_ignored(interop.backend_config(backend_config))
    model = settled(unwrapped(model))
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
    the channels may differ later. `model` is taken in eval mode, and not modified. `backend_config` narrows down what
    may run in int8. Run the result on representative batches, with `calibrate` or by calling it, then hand it to
    `convert_fx`.

    `passes`: what this call runs besides, or not: names of optional passes, decorated passes, instances of a pass's
    dataclass with options, and `without(name)` for what it leaves out. The stages are normalize, fuse, annotate and
    observe.

    Raises ConfigError (a key of the mapping that matches nothing), InputError (inputs that the model
    does not take) and TraceError (code that cannot be captured). Warns with ConfigWarning of settings without effect.
    """
    if _equalization_config is not None:
        warnings.warn("_equalization_config has no effect: weights are not equalized", ConfigWarning, stacklevel=2)
    selection = select(passes, PREPARE, "prepare_fx")
    return prepared_model(model, qconfig_mapping, example_inputs, prepare_custom_config, backend_config, selection)


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
    prepared = ready_to_convert(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    kept = attributes_of(graph_module, meta_of(prepared)["convert_custom_config"].preserved_attributes)
    if keep_original_weights:
        kept["original_weights_lookup"] = original_weights(prepared)
    convert = partial(convert_fx, placement=placement, passes=passes)
    made = map_parts(prepared, partial(converted_part, placement=placement, passes=passes, convert=convert))
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
    prepared = ready_to_convert(graph_module, convert_custom_config, qconfig_mapping, backend_config)
    kept = attributes_of(graph_module, meta_of(prepared)["convert_custom_config"].preserved_attributes)
    convert = partial(convert_to_reference_fx, passes=passes)
    made = map_parts(prepared, partial(reference_part, passes=passes, convert=convert))
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
    prepared = prepared_model(
        settled, qconfig_mapping, example_inputs, prepare_custom_config, backend_config, selection, trains=True
    )
    return prepared.train(model.training)
