"""torch.ao's own objects, read by their attributes: nothing here needs torch.ao to exist.

    observer factory   made once, to see what it makes; then ours of the same class name, with the same arguments
    qconfig, mapping, custom and backend configs   ours, with the same settings
    torch.ao.nn.quantizable, as classes of custom modules   nothing: their float modules are quantized as any others

A range that torch.ao halves against saturating kernels (`reduce_range`, or the 0..127 of its default observer) is taken
at its full width: no kernel here saturates. Symmetric weights of all 8 bits are taken as -127..127: with -128 in use,
the scale is max|w| / 127.5, and the largest weight is cut by half a step if it is positive (docs/accuracy.md). An
observer class that is not known by name, a user's own, is asked for its qparams as it is.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fxquant import fake_quantize, observer
from fxquant.backend_config import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    DTypeWithConstraints,
    ObservationType,
)
from fxquant.custom_config import (
    ConvertCustomConfig,
    FuseCustomConfig,
    PrepareCustomConfig,
    QuantType,
    StandaloneModuleConfigEntry,
    copied,
)
from fxquant.custom_config_forms import check
from fxquant.errors import ConfigError, ConfigWarning, FxquantError
from fxquant.observer import ObserverBase, Partial
from fxquant.observer.base import usual_qparams
from fxquant.observer.scheme import plain_dtype
from fxquant.qconfig import QConfig, QConfigAny
from fxquant.qconfig_mapping import QConfigMapping
from fxquant.qparams import QParams

Factory = Callable[..., Any]


def qconfig_mapping(given: Any) -> QConfigMapping:
    """A mapping of ours with the settings of `given`: ours, torch.ao's, or a dict. ConfigError for anything else."""
    if isinstance(given, dict):
        given = _of_dict(given, QConfigMapping, "qconfig_mapping")
    if not hasattr(given, "module_name_object_type_order_qconfigs"):
        raise ConfigError(
            f"qconfig_mapping is a {type(given).__name__}; pass get_default_qconfig_mapping(), "
            "a QConfigMapping or its dict form"
        )
    known: dict[int, QConfigAny] = {}

    def translated(value: Any) -> QConfigAny:
        if id(value) not in known:
            known[id(value)] = qconfig(value)
        return known[id(value)]

    made = QConfigMapping()
    for name, setting in vars(given).items():
        if isinstance(setting, dict):
            getattr(made, name).update({key: translated(value) for key, value in setting.items()})
    return made.set_global(translated(given.global_qconfig))


def qconfig(given: Any) -> QConfigAny:
    """A QConfig of ours that makes observers of ours. ConfigError if `given` has not the two fields of one."""
    if given is None or isinstance(given, TranslatedQConfig):
        return given
    if not (hasattr(given, "activation") and hasattr(given, "weight")):
        raise ConfigError(f"expected a QConfig, or None for staying float; got {given!r}")
    weight = None if given.weight is None else observer_factory(given.weight, of_weights=True)
    made = TranslatedQConfig(observer_factory(given.activation), weight)
    made.given = given
    return made


class TranslatedQConfig(QConfig):
    """A QConfig of ours that knows the one whose settings it has."""

    given: Any


def as_given(qconfig: QConfigAny) -> Any:
    """The QConfig as the user wrote it: custom modules may make observers of it by themselves."""
    return getattr(qconfig, "given", qconfig)


def observer_factory(given: Factory, of_weights: bool = False) -> Factory:
    """What makes observers of ours as `given` makes torch.ao's; `given` itself if it makes ours."""
    if isinstance(given, Partial) or (isinstance(given, type) and issubclass(given, ObserverBase)):
        return given
    try:
        made = given()
    except Exception:  # whatever the user's factory raises
        return given  # the annotate stage meets it again, and names the setting that gave it
    if isinstance(made, ObserverBase):
        return given
    if isinstance(made, nn.Identity):
        return observer.PlaceholderObserver
    if not callable(getattr(made, "calculate_qparams", None)):
        return given  # no observer at all, which the annotate stage refuses with the setting that gave it
    return _like(made, of_weights) or partial(_foreign, given)


def _foreign(factory: Factory) -> ForeignObserver:
    return ForeignObserver(factory())


def _like(made: Any, of_weights: bool) -> Partial | None:
    """A factory of our class of the same name as that of `made`, with its arguments; None if there is none."""
    name = type(made).__name__
    kind: Any = getattr(observer, name, None) or getattr(fake_quantize, name, None)
    if kind is None or not type(made).__module__.startswith("torch."):
        return None
    if issubclass(kind, fake_quantize.FakeQuantizeBase):
        return _fake_quantize_like(made, kind, of_weights)
    arguments = {
        name: _plain(getattr(made, name)) for name in inspect.signature(kind).parameters if hasattr(made, name)
    }
    if isinstance(arguments.get("dtype"), torch.dtype):
        arguments["dtype"] = plain_dtype(arguments["dtype"])
    if arguments.get("reduce_range"):
        arguments["quant_min"], arguments["quant_max"] = 2 * arguments["quant_min"], 2 * arguments["quant_max"] + 1
        arguments["reduce_range"] = False
        halved = True
    elif halved := _halved(arguments) and not of_weights:
        arguments["quant_max"] = 255
    if "headroom" in inspect.signature(kind).parameters:
        arguments["headroom"] = halved and not of_weights and not arguments.get("is_dynamic")
    if of_weights and "symmetric" in str(arguments.get("qscheme")) and arguments.get("quant_min") == -128:
        arguments["quant_min"] = -127
    if getattr(made, "custom_op", ""):
        arguments["custom_op_name"] = made.custom_op
    return Partial(kind).with_args(**arguments) if arguments else Partial(kind)


def _halved(arguments: dict[str, Any]) -> bool:
    bounds = (arguments.get("quant_min"), arguments.get("quant_max"))
    return arguments.get("dtype") is torch.uint8 and bounds == (0, 127)


def _fake_quantize_like(made: Any, kind: Any, of_weights: bool) -> Partial | None:
    within = _like(made.activation_post_process, of_weights)
    if within is None:
        return None
    arguments: dict[str, Any] = {"observer": within}
    if "quant_min" in inspect.signature(kind).parameters:
        observes: Any = within()
        arguments |= {"quant_min": observes.quant_min, "quant_max": observes.quant_max}
    if kind is fake_quantize._LearnableFakeQuantize:
        channels = -1 if made.scale.numel() == 1 else made.scale.numel()
        arguments |= {"channel_len": channels, "use_grad_scaling": made.use_grad_scaling}
    return Partial(kind).with_args(**arguments)


def _plain(value: Any) -> Any:
    """A number in a tensor as a number; qschemes by their names."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    return str(value).removeprefix("torch.") if isinstance(value, torch.qscheme) else value


class ForeignObserver(ObserverBase):
    """A module with `calculate_qparams`, `dtype`, `quant_min` and `quant_max`, of a class that is not known here."""

    def __init__(self, made: nn.Module) -> None:
        super().__init__(getattr(made, "dtype", torch.uint8), bool(getattr(made, "is_dynamic", False)))
        self.made: Any = made
        self.qscheme = observer.QScheme.of(getattr(made, "qscheme", None) or observer.QScheme.PER_TENSOR_AFFINE)
        info = torch.iinfo(self.dtype) if not self.dtype.is_floating_point else None
        low, high = getattr(made, "quant_min", None), getattr(made, "quant_max", None)
        self.quant_min = int(low if low is not None else info.min if info else 0)
        self.quant_max = int(high if high is not None else info.max if info else 0)
        self.ch_axis = int(made.ch_axis) if self.qscheme.per_channel else None  # type: ignore[arg-type]
        self.seen = False

    @property
    def observed(self) -> bool:
        return self.seen

    def forward(self, x: Tensor) -> Tensor:
        self.seen = True
        result: Tensor = self.made(x)
        return result

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        scale, zero_point = self.made.calculate_qparams()
        return scale.float().reshape(-1), zero_point.reshape(-1).to(torch.int32)

    def qparams(self) -> QParams:
        return usual_qparams(self)


def prepare_custom_config(given: Any) -> PrepareCustomConfig:
    """A PrepareCustomConfig of ours with the settings of `given`: ours, torch.ao's, a dict, or None."""
    made: PrepareCustomConfig = _config(given, PrepareCustomConfig, "prepare_custom_config")
    made.standalone_module_names = {k: _entry(v) for k, v in made.standalone_module_names.items()}
    made.standalone_module_classes = {k: _entry(v) for k, v in made.standalone_module_classes.items()}
    made.float_to_observed_mapping = _without_quantizable(_by_quant_type(made.float_to_observed_mapping))
    return made


def _without_quantizable(mapping: dict[QuantType, Any]) -> dict[QuantType, Any]:
    """Without the classes that quantize in torch.ao what is quantized here as it is; warns of each."""
    kept: dict[QuantType, Any] = {}
    for quant_type, classes in mapping.items():
        unneeded = {kind for kind, observed in classes.items() if _is_quantizable(observed)}
        kept[quant_type] = {kind: observed for kind, observed in classes.items() if kind not in unneeded}
        for kind in unneeded:
            message = f"{classes[kind].__name__} of torch.ao is not needed: a {kind.__name__} is quantized as it is"
            warnings.warn(message, ConfigWarning, stacklevel=_depth())
    return kept


def _is_quantizable(kind: Any) -> bool:
    return str(kind.__module__).startswith("torch.ao.nn.quantizable.")


def convert_custom_config(given: Any) -> ConvertCustomConfig:
    """A ConvertCustomConfig of ours with the settings of `given`: ours, torch.ao's, a dict, or None."""
    made: ConvertCustomConfig = _config(given, ConvertCustomConfig, "convert_custom_config")
    made.observed_to_quantized_mapping = _by_quant_type(made.observed_to_quantized_mapping)
    return made


def fuse_custom_config(given: Any) -> FuseCustomConfig:
    """A FuseCustomConfig of ours with the settings of `given`: ours, torch.ao's, a dict, or None."""
    made: FuseCustomConfig = _config(given, FuseCustomConfig, "fuse_custom_config")
    return made


def _config(given: Any, kind: Any, argument: str) -> Any:
    if given is None:
        return kind()
    if isinstance(given, dict):
        given = _of_dict(given, kind, argument)
    names = [field.name for field in fields(kind)]
    if not all(hasattr(given, name) for name in names):
        raise ConfigError(f"{argument} is a {type(given).__name__}; pass a {kind.__name__}")
    check(given, argument)
    return copied(kind(**{name: getattr(given, name) for name in names}))


def _of_dict(given: dict[str, Any], kind: Any, argument: str) -> Any:
    message = f"a dict as {argument} is deprecated; pass a {kind.__name__}"
    warnings.warn(message, FutureWarning, stacklevel=_depth())
    try:
        return kind.from_dict(given)
    except FxquantError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"the dict as {argument} has not the form of {kind.__name__}.to_dict(): {error}") from error


def _depth() -> int:
    """How many frames the one that warns is below the user's, for `stacklevel`."""
    frame, depth = sys._getframe(1), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("fxquant."):
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    return depth


def _entry(given: Any) -> StandaloneModuleConfigEntry:
    return StandaloneModuleConfigEntry(*(getattr(given, field.name) for field in fields(StandaloneModuleConfigEntry)))


def _by_quant_type(mapping: dict[Any, Any]) -> dict[QuantType, Any]:
    return {QuantType[key.name]: dict(classes) for key, classes in mapping.items()}


def backend_config(given: Any) -> BackendConfig | None:
    """A BackendConfig of ours with the settings of `given`: ours, torch.ao's, a dict, or None."""
    if given is None or isinstance(given, BackendConfig):
        return given
    if isinstance(given, dict):
        made: BackendConfig = _of_dict(given, BackendConfig, "backend_config")
        return made
    if not (hasattr(given, "configs") and hasattr(given, "name")):
        raise ConfigError(f"backend_config is a {type(given).__name__}; pass a BackendConfig")
    return BackendConfig(given.name).set_backend_pattern_configs([_pattern_config(config) for config in given.configs])


_MODULES = ("root_module", "qat_module", "reference_quantized_module", "fused_module", "fuser_method")


def _pattern_config(given: Any) -> BackendPatternConfig:
    complex_format = getattr(given, "_pattern_complex_format", None)
    made = BackendPatternConfig(given.pattern if complex_format is None else complex_format)
    made.set_observation_type(ObservationType[given.observation_type.name])
    made.set_dtype_configs([_dtype_config(config) for config in given.dtype_configs])
    for name in _MODULES:
        value = getattr(given, name, None)
        if value is not None:
            getattr(made, f"set_{name}")(value)
    return made


def _dtype_config(given: Any) -> DTypeConfig:
    sides = (getattr(given, f"{side}_dtype_with_constraints") for side in ("input", "output", "weight"))
    names = [field.name for field in fields(DTypeWithConstraints)]
    constraints = [DTypeWithConstraints(*(getattr(side, name) for name in names)) for side in sides]
    return DTypeConfig(constraints[0], constraints[1], constraints[2], given.bias_dtype, given.is_dynamic)
