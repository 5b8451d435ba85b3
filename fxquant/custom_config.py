"""What prepare_fx, convert_fx and fuse_fx can be told beyond the qconfig mapping.

    standalone module     prepared and converted on its own, as one call of the model around it
    non-traceable module  one call, computed in float
    custom module         a class of the user's that observes, and one that computes quantized, in place of a float one

Each setter returns the config, so that they can be chained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from torch import nn

from fxquant.arguments import typed
from fxquant.backend_config import BackendConfig
from fxquant.errors import ConfigError
from fxquant.qconfig_mapping import QConfigMapping
from fxquant.quant_type import QuantType

__all__ = [
    "ConvertCustomConfig",
    "FuseCustomConfig",
    "PrepareCustomConfig",
    "QuantType",
    "StandaloneModuleConfigEntry",
]

ModuleClass = type[nn.Module]


ClassMapping = dict[QuantType, dict[ModuleClass, ModuleClass]]
_TYPE_NAMES = {
    QuantType.STATIC: "static",
    QuantType.DYNAMIC: "dynamic",
    QuantType.WEIGHT_ONLY: "weight_only",
    QuantType.QAT: "qat",
}


@dataclass
class StandaloneModuleConfigEntry:
    """How a standalone module is prepared: the arguments of its own `prepare_fx`.

    `qconfig_mapping` None means the qconfig that the module has in the model's mapping.
    """

    qconfig_mapping: QConfigMapping | None
    example_inputs: Any
    prepare_custom_config: PrepareCustomConfig | None = None
    backend_config: BackendConfig | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The four as they stand in the dict form."""
        mapping = None if self.qconfig_mapping is None else self.qconfig_mapping.to_dict()
        custom = None if self.prepare_custom_config is None else self.prepare_custom_config.to_dict()
        return mapping, self.example_inputs, custom, self.backend_config


@dataclass
class PrepareCustomConfig:
    """The settings of `prepare_fx` and `prepare_qat_fx`."""

    standalone_module_names: dict[str, StandaloneModuleConfigEntry] = field(default_factory=dict)
    standalone_module_classes: dict[ModuleClass, StandaloneModuleConfigEntry] = field(default_factory=dict)
    float_to_observed_mapping: ClassMapping = field(default_factory=dict)
    non_traceable_module_names: list[str] = field(default_factory=list)
    non_traceable_module_classes: list[ModuleClass] = field(default_factory=list)
    input_quantized_indexes: list[int] = field(default_factory=list)
    output_quantized_indexes: list[int] = field(default_factory=list)
    preserved_attributes: list[str] = field(default_factory=list)

    def set_standalone_module_name(
        self,
        module_name: str,
        qconfig_mapping: QConfigMapping | None,
        example_inputs: Any,
        prepare_custom_config: PrepareCustomConfig | None = None,
        backend_config: BackendConfig | None = None,
    ) -> PrepareCustomConfig:
        """The module at this path is prepared and converted on its own."""
        self.standalone_module_names[module_name] = StandaloneModuleConfigEntry(
            qconfig_mapping, example_inputs, prepare_custom_config, backend_config
        )
        return self

    def set_standalone_module_class(
        self,
        module_class: ModuleClass,
        qconfig_mapping: QConfigMapping | None,
        example_inputs: Any,
        prepare_custom_config: PrepareCustomConfig | None = None,
        backend_config: BackendConfig | None = None,
    ) -> PrepareCustomConfig:
        """All modules of this class are prepared and converted on their own."""
        self.standalone_module_classes[module_class] = StandaloneModuleConfigEntry(
            qconfig_mapping, example_inputs, prepare_custom_config, backend_config
        )
        return self

    def set_float_to_observed_mapping(
        self, float_class: ModuleClass, observed_class: ModuleClass, quant_type: QuantType = QuantType.STATIC
    ) -> PrepareCustomConfig:
        """Modules of `float_class` become `observed_class.from_float(module)`; the module has its `qconfig` by then."""
        _set_class(self.float_to_observed_mapping, float_class, observed_class, quant_type, "from_float")
        return self

    def set_non_traceable_module_names(self, module_names: Sequence[str]) -> PrepareCustomConfig:
        """Dotted paths of modules that are called as a whole."""
        self.non_traceable_module_names = list(module_names)
        return self

    def set_non_traceable_module_classes(self, module_classes: Sequence[ModuleClass]) -> PrepareCustomConfig:
        """Classes whose instances are called as a whole."""
        self.non_traceable_module_classes = list(module_classes)
        return self

    def set_input_quantized_indexes(self, indexes: Sequence[int]) -> PrepareCustomConfig:
        """Inputs that the converted model takes as uint8 integers; `meta["input_qparams"]` tells which."""
        self.input_quantized_indexes = list(indexes)
        return self

    def set_output_quantized_indexes(self, indexes: Sequence[int]) -> PrepareCustomConfig:
        """Outputs that the converted model gives as uint8 integers; `meta["output_qparams"]` tells which."""
        self.output_quantized_indexes = list(indexes)
        return self

    @typed
    def set_preserved_attributes(self, attributes: Sequence[str]) -> PrepareCustomConfig:
        """Attributes that the prepared model has too, although its graph does not need them."""
        self.preserved_attributes = list(attributes)
        return self

    @classmethod
    @typed
    def from_dict(cls, prepare_custom_config_dict: dict[str, Any]) -> PrepareCustomConfig:
        """The inverse of `to_dict`. Every key may be missing; ConfigError for an unknown one."""
        made = cls()
        _read(prepare_custom_config_dict, made, _PREPARE_KEYS)
        made.standalone_module_names = _entries(prepare_custom_config_dict.get("standalone_module_name", ()))
        made.standalone_module_classes = _entries(prepare_custom_config_dict.get("standalone_module_class", ()))
        made.float_to_observed_mapping = _classes(prepare_custom_config_dict.get(_FLOAT_TO_OBSERVED, {}))
        return made

    def to_dict(self) -> dict[str, Any]:
        """The settings that are not empty, under the keys that torch.ao has for them."""
        written = _written(self, _PREPARE_KEYS)
        names = [(name, *entry.to_tuple()) for name, entry in self.standalone_module_names.items()]
        classes = [(kind, *entry.to_tuple()) for kind, entry in self.standalone_module_classes.items()]
        special = {
            "standalone_module_name": names,
            "standalone_module_class": classes,
            _FLOAT_TO_OBSERVED: _named(self.float_to_observed_mapping),
        }
        return {key: value for key, value in {**special, **written}.items() if value}


@dataclass
class ConvertCustomConfig:
    """The settings of `convert_fx`."""

    observed_to_quantized_mapping: ClassMapping = field(default_factory=dict)
    preserved_attributes: list[str] = field(default_factory=list)

    def set_observed_to_quantized_mapping(
        self, observed_class: ModuleClass, quantized_class: ModuleClass, quant_type: QuantType = QuantType.STATIC
    ) -> ConvertCustomConfig:
        """Modules of `observed_class` become `quantized_class.from_observed(module)`."""
        _set_class(self.observed_to_quantized_mapping, observed_class, quantized_class, quant_type, "from_observed")
        return self

    @typed
    def set_preserved_attributes(self, attributes: Sequence[str]) -> ConvertCustomConfig:
        """Attributes that the converted model has too, although its graph does not need them."""
        self.preserved_attributes = list(attributes)
        return self

    @classmethod
    @typed
    def from_dict(cls, convert_custom_config_dict: dict[str, Any]) -> ConvertCustomConfig:
        """The inverse of `to_dict`. Every key may be missing; ConfigError for an unknown one."""
        made = cls()
        _read(convert_custom_config_dict, made, {_OBSERVED_TO_QUANTIZED: None, **_KEPT})
        made.observed_to_quantized_mapping = _classes(convert_custom_config_dict.get(_OBSERVED_TO_QUANTIZED, {}))
        return made

    def to_dict(self) -> dict[str, Any]:
        """The settings that are not empty, under the keys that torch.ao has for them."""
        all_keys = {_OBSERVED_TO_QUANTIZED: _named(self.observed_to_quantized_mapping), **_written(self, _KEPT)}
        return {key: value for key, value in all_keys.items() if value}


@dataclass
class FuseCustomConfig:
    """The settings of `fuse_fx`."""

    preserved_attributes: list[str] = field(default_factory=list)

    @typed
    def set_preserved_attributes(self, attributes: Sequence[str]) -> FuseCustomConfig:
        """Attributes that the fused model has too, although its graph does not need them."""
        self.preserved_attributes = list(attributes)
        return self

    @classmethod
    @typed
    def from_dict(cls, fuse_custom_config_dict: dict[str, Any]) -> FuseCustomConfig:
        """The inverse of `to_dict`. The key may be missing; ConfigError for an unknown one."""
        made = cls()
        _read(fuse_custom_config_dict, made, _KEPT)
        return made

    def to_dict(self) -> dict[str, Any]:
        """The settings that are not empty, under the keys that torch.ao has for them."""
        return _written(self, _KEPT)


_FLOAT_TO_OBSERVED = "float_to_observed_custom_module_class"
_OBSERVED_TO_QUANTIZED = "observed_to_quantized_custom_module_class"
# The keys of the dict forms, and the fields of the same form; None where the form is another one.
_KEPT: dict[str, str | None] = {"preserved_attributes": "preserved_attributes"}
_PREPARE_KEYS: dict[str, str | None] = {
    "standalone_module_name": None,
    "standalone_module_class": None,
    _FLOAT_TO_OBSERVED: None,
    "non_traceable_module_name": "non_traceable_module_names",
    "non_traceable_module_class": "non_traceable_module_classes",
    "input_quantized_idxs": "input_quantized_indexes",
    "output_quantized_idxs": "output_quantized_indexes",
    **_KEPT,
}

Config = TypeVar("Config", PrepareCustomConfig, ConvertCustomConfig, FuseCustomConfig)


def _set_class(mapping: ClassMapping, old: ModuleClass, new: ModuleClass, quant_type: QuantType, maker: str) -> None:
    if not callable(getattr(new, maker, None)):
        names = [getattr(kind, "__name__", kind) for kind in (new, old)]
        raise ConfigError(f"{names[0]} has no {maker}, by which it is made of a {names[1]}")
    if quant_type not in list(QuantType):
        raise ConfigError(f"{quant_type!r} is no QuantType; there are {', '.join(QuantType.__members__)}")
    mapping.setdefault(QuantType(quant_type), {})[old] = new


def _read(given: dict[str, Any], config: Any, keys: dict[str, str | None]) -> None:
    if unknown := [key for key in given if key not in keys]:
        raise ConfigError(f"unknown keys {unknown} in a dict for {type(config).__name__}; known: {list(keys)}")
    for key, name in keys.items():
        if name is not None:
            setattr(config, name, list(given.get(key, ())))


def _written(config: Any, keys: dict[str, str | None]) -> dict[str, Any]:
    return {key: value for key, name in keys.items() if name is not None and (value := getattr(config, name))}


def _entries(rows: Iterable[tuple[Any, ...]]) -> dict[Any, StandaloneModuleConfigEntry]:
    """Of rows (name or class, qconfig mapping, example inputs, prepare config, backend config), configs maybe dicts."""
    return {
        key: StandaloneModuleConfigEntry(
            _made_of(QConfigMapping.from_dict, mapping),
            inputs,
            _made_of(PrepareCustomConfig.from_dict, custom),
            _made_of(BackendConfig.from_dict, backend),
        )
        for key, mapping, inputs, custom, backend in rows
    }


def _made_of(from_dict: Callable[[dict[str, Any]], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return from_dict(value) if value else None
    return value


def _classes(given: dict[str, dict[ModuleClass, ModuleClass]]) -> ClassMapping:
    types = {name: quant_type for quant_type, name in _TYPE_NAMES.items()}
    if unknown := [name for name in given if name not in types]:
        raise ConfigError(f"unknown quant types {unknown}; known: {list(types)}")
    return {types[name]: dict(mapping) for name, mapping in given.items()}


def _named(mapping: ClassMapping) -> dict[str, dict[ModuleClass, ModuleClass]]:
    return {_TYPE_NAMES[quant_type]: classes for quant_type, classes in mapping.items()}


def copied(config: Config) -> Config:
    """A config with the same settings, that shares no container with `config`."""
    return type(config)(**{f.name: type(value)(value) for f in fields(config) for value in [getattr(config, f.name)]})
