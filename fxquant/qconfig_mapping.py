"""QConfigMapping: which op gets which QConfig. The most specific setting decides:

    set_global  <  set_object_type  <  set_module_name_regex  <  set_module_name  <  set_module_name_object_type_order

A QConfig of None means: stay float.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from torch import nn
from torch.nn import functional as F

from fxquant.errors import ConfigError, ConfigWarning
from fxquant.qconfig import (
    QConfig,
    QConfigAny,
    default_embedding_qat_qconfig,
    default_symmetric_qnnpack_qat_qconfig,
    default_symmetric_qnnpack_qconfig,
    float_qparams_weight_only_qconfig,
    get_default_qat_qconfig,
    get_default_qconfig,
)

__all__ = [
    "QConfigMapping",
    "get_default_qat_qconfig_dict",
    "get_default_qat_qconfig_mapping",
    "get_default_qconfig_dict",
    "get_default_qconfig_mapping",
    "get_symmetric_qnnpack_qat_qconfig_mapping",
    "get_symmetric_qnnpack_qconfig_mapping",
]

ObjectType = type | Callable[..., Any] | str  # a module class, a function, or the name of a tensor method
OrderKey = tuple[str, ObjectType, int]

_DICT_KEYS = ("", "object_type", "module_name_regex", "module_name", "module_name_object_type_order")
_NAMES_SHOWN = 20


class Match(NamedTuple):
    """The QConfig of an op, and the setting that gave it, such as "set_module_name('features.3', None)".

    `reason`: why it is None, where a pass and no setting says so.
    """

    qconfig: QConfigAny
    source: str
    reason: str = ""


class QConfigMapping:
    """Settings on five levels; see the module. Each setter returns the mapping, so that they can be chained."""

    def __init__(self) -> None:
        self.global_qconfig: QConfigAny = None
        self.object_type_qconfigs: dict[ObjectType, QConfigAny] = {}
        self.module_name_regex_qconfigs: dict[str, QConfigAny] = {}
        self.module_name_qconfigs: dict[str, QConfigAny] = {}
        self.module_name_object_type_order_qconfigs: dict[OrderKey, QConfigAny] = {}

    def set_global(self, global_qconfig: QConfigAny) -> QConfigMapping:
        """For all ops that no other setting matches."""
        self.global_qconfig = _checked(global_qconfig)
        return self

    def set_object_type(self, object_type: ObjectType, qconfig: QConfigAny) -> QConfigMapping:
        """For a module class, a function, or a tensor method by its name."""
        self.object_type_qconfigs[object_type] = _checked(qconfig)
        return self

    def set_module_name_regex(self, module_name_regex: str, qconfig: QConfigAny) -> QConfigMapping:
        """For modules whose path begins with a match. The first regex set wins: set the more specific one first.

        Raises ConfigError if it is no regular expression.
        """
        try:
            re.compile(module_name_regex)
        except (re.error, TypeError) as error:
            raise ConfigError(f"set_module_name_regex({module_name_regex!r}): {error}") from error
        self.module_name_regex_qconfigs[module_name_regex] = _checked(qconfig)
        return self

    def set_module_name(self, module_name: str, qconfig: QConfigAny) -> QConfigMapping:
        """For a module and all within it; the longest path set wins."""
        self.module_name_qconfigs[_checked_name(module_name)] = _checked(qconfig)
        return self

    def set_module_name_object_type_order(
        self, module_name: str, object_type: ObjectType, index: int, qconfig: QConfigAny
    ) -> QConfigMapping:
        """For the call number `index`, from 0, of `object_type` in the forward of the module `module_name`."""
        key = _checked_name(module_name), object_type, index
        self.module_name_object_type_order_qconfigs[key] = _checked(qconfig)
        return self

    def qconfig_for(
        self,
        module_path: str,
        object_types: Sequence[ObjectType],
        order_index: int | None = None,
        scope: str | None = None,
    ) -> Match:
        """The QConfig of one call.

        `module_path`: the module that is called, or in whose forward a function is called. `object_types`: all that
        the call may be known as; the first that is set wins. `order_index`: how many calls of this type stood before
        it in the forward of the module `scope`, which is the parent of a called module, and `module_path` by default.
        """
        scope = module_path if scope is None else scope
        orders = ((scope, kind, order_index) for kind in object_types)
        found = (
            _first(orders, self.module_name_object_type_order_qconfigs, "set_module_name_object_type_order")
            or _first(_prefixes(module_path), self.module_name_qconfigs, "set_module_name")
            or _first(self._regexes(module_path), self.module_name_regex_qconfigs, "set_module_name_regex")
            or _first(object_types, self.object_type_qconfigs, "set_object_type")
        )
        return found or Match(self.global_qconfig, f"set_global({_shown(self.global_qconfig)})")

    def _regexes(self, module_path: str) -> Iterator[str]:
        return (regex for regex in self.module_name_regex_qconfigs if re.match(regex, module_path))

    def check_keys(self, model_paths: Collection[str], object_types_in_model: Collection[ObjectType]) -> None:
        """Raises ConfigError for a name or a regex that matches no module, naming those that would.

        Warns with ConfigWarning of a type that is not in the model, unless `get_default_qconfig_mapping` set it: one
        mapping may serve several models. `model_paths`: of all modules.
        """
        for regex in self.module_name_regex_qconfigs:
            if not any(re.match(regex, path) for path in model_paths):
                raise _no_match(f"set_module_name_regex({regex!r})", "module", regex, model_paths)
        for name in self.module_name_qconfigs:
            if name == "":
                raise ConfigError("set_module_name('') matches nothing; for the whole model, use set_global")
            _check_name(f"set_module_name({name!r})", name, model_paths)
        for kind, qconfig in self.object_type_qconfigs.items():
            if not _is_default(kind, qconfig):
                _check_type(f"set_object_type({_label(kind)})", kind, object_types_in_model)
        for key in self.module_name_object_type_order_qconfigs:
            setting = f"set_module_name_object_type_order({_label(key)})"
            _check_name(setting, key[0], {"", *model_paths})
            _check_type(setting, key[1], object_types_in_model)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain lists of tuples, under "" (global), "object_type", "module_name_regex" and so on."""
        orders = [(*key, qconfig) for key, qconfig in self.module_name_object_type_order_qconfigs.items()]
        return {
            "": self.global_qconfig,
            "object_type": list(self.object_type_qconfigs.items()),
            "module_name_regex": list(self.module_name_regex_qconfigs.items()),
            "module_name": list(self.module_name_qconfigs.items()),
            "module_name_object_type_order": orders,
        }

    @classmethod
    def from_dict(cls, qconfig_dict: dict[str, Any]) -> QConfigMapping:
        """The inverse of `to_dict`. Every key may be missing; ConfigError for an unknown one."""
        if unknown := [key for key in qconfig_dict if key not in _DICT_KEYS]:
            raise ConfigError(f"unknown keys {unknown} in a qconfig dict; known: {list(_DICT_KEYS)}")
        mapping = cls().set_global(qconfig_dict.get(""))
        setters: dict[str, Callable[..., QConfigMapping]] = {
            "object_type": mapping.set_object_type,
            "module_name_regex": mapping.set_module_name_regex,
            "module_name": mapping.set_module_name,
            "module_name_object_type_order": mapping.set_module_name_object_type_order,
        }
        for key, setter in setters.items():
            try:
                for entry in qconfig_dict.get(key, ()):
                    setter(*entry)
            except TypeError as error:
                raise ConfigError(
                    f"{key!r} of a qconfig dict must be a list of (key …, qconfig) tuples: {error}"
                ) from error
        return mapping

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QConfigMapping) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"set_global({self.global_qconfig})"]
        for name, entries in self.to_dict().items():
            lines += [f"set_{name}({_label(key)}, {qconfig})" for *key, qconfig in (entries if name else ())]
        return "\n  .".join(["QConfigMapping()", *lines])


_TRANSPOSED = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)


_BAGS = (nn.EmbeddingBag, F.embedding_bag)


def _default_mapping(qconfig: QConfig, bags: QConfig = float_qparams_weight_only_qconfig) -> QConfigMapping:
    """`qconfig` for all ops; where it has a scale a channel, on the right axis of each weight.

    The output channels of a transposed convolution's weight [in, out / groups, ...] are on axis 1. `bags`: for bags of
    embeddings, whose rows alone can be integers.
    """
    mapping = QConfigMapping().set_global(qconfig)
    mapping.object_type_qconfigs.update(dict.fromkeys(_BAGS, bags))
    weight: Any = qconfig.weight
    if getattr(weight(), "ch_axis", None) is not None:
        transposed = qconfig._replace(weight=weight.with_args(ch_axis=1))
        mapping.object_type_qconfigs.update(dict.fromkeys(_TRANSPOSED, transposed))
    return mapping


def _is_default(kind: ObjectType, qconfig: QConfigAny) -> bool:
    """Whether a default mapping sets this, whatever the model has in it."""
    weight: Any = qconfig.weight if qconfig is not None else None
    if kind in _BAGS:
        return qconfig in (float_qparams_weight_only_qconfig, default_embedding_qat_qconfig)
    return kind in _TRANSPOSED and weight is not None and getattr(weight(), "ch_axis", None) == 1


def get_default_qconfig_mapping(backend: str = "x86", version: int = 0) -> QConfigMapping:
    """`get_default_qconfig(backend)` for all ops, with per-channel scales on the right axis of each weight.

    Bags of embeddings have 8-bit rows, each with a scale of its own, and give real numbers. Ops whose output range the
    maths gives (sigmoid, tanh …) need no setting. ConfigError if `backend` is not known.
    """
    return _default_mapping(get_default_qconfig(backend, version))


def get_default_qat_qconfig_mapping(backend: str = "x86", version: int | None = 1) -> QConfigMapping:
    """`get_default_qat_qconfig(backend, version)` for all ops, otherwise as `get_default_qconfig_mapping`."""
    return _default_mapping(get_default_qat_qconfig(backend, version), default_embedding_qat_qconfig)


def get_default_qconfig_dict(backend: str = "x86", version: int = 0) -> dict[str, Any]:
    """Deprecated: `get_default_qconfig_mapping` as a dict."""
    _warn_of_dict("get_default_qconfig_dict", "get_default_qconfig_mapping")
    return get_default_qconfig_mapping(backend, version).to_dict()


def get_default_qat_qconfig_dict(backend: str = "x86", version: int | None = 1) -> dict[str, Any]:
    """Deprecated: `get_default_qat_qconfig_mapping` as a dict."""
    _warn_of_dict("get_default_qat_qconfig_dict", "get_default_qat_qconfig_mapping")
    return get_default_qat_qconfig_mapping(backend, version).to_dict()


def _warn_of_dict(name: str, other: str) -> None:
    warnings.warn(f"{name} is deprecated; use {other}", FutureWarning, stacklevel=3)


def get_symmetric_qnnpack_qconfig_mapping() -> QConfigMapping:
    """int8 activations, and symmetric weights in -127..127 with one scale, for all ops."""
    return _default_mapping(default_symmetric_qnnpack_qconfig)


def get_symmetric_qnnpack_qat_qconfig_mapping() -> QConfigMapping:
    """As `get_symmetric_qnnpack_qconfig_mapping`, for training."""
    return _default_mapping(default_symmetric_qnnpack_qat_qconfig, default_embedding_qat_qconfig)


# The names that torch.ao.quantization.qconfig_mapping has for them.
_get_symmetric_qnnpack_qconfig_mapping = get_symmetric_qnnpack_qconfig_mapping
_get_symmetric_qnnpack_qat_qconfig_mapping = get_symmetric_qnnpack_qat_qconfig_mapping


def _checked(qconfig: Any) -> Any:
    """A QConfig, None, or what has the two fields of one."""
    if qconfig is None or (hasattr(qconfig, "activation") and hasattr(qconfig, "weight")):
        return qconfig
    raise ConfigError(f"expected a QConfig, or None for staying float; got {qconfig!r}")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise ConfigError(f"expected the dotted path of a module, got {name!r}; for a type, use set_object_type")
    return name


def _first(keys: Iterable[Any], settings: dict[Any, QConfigAny], setter: str) -> Match | None:
    for key in keys:
        if key in settings:
            return Match(settings[key], f"{setter}({_label(key)}, {_shown(settings[key])})")
    return None


def _prefixes(path: str) -> Iterator[str]:
    """a.b.c, a.b, a"""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _shown(qconfig: QConfigAny) -> str:
    return "None" if qconfig is None else "qconfig"


def _label(key: Any) -> str:
    """A key as the user would write it."""
    if isinstance(key, (tuple, list)):
        return ", ".join(map(_label, key))
    return repr(key) if isinstance(key, (str, int)) else _type_name(key)


def _type_name(kind: ObjectType) -> str:
    if isinstance(kind, str):
        return kind
    name = getattr(kind, "__qualname__", None) or getattr(kind, "__name__", repr(kind))
    return str(name)


def _check_name(setting: str, name: str, model_paths: Collection[str]) -> None:
    if name not in model_paths:
        raise _no_match(setting, "module", name, model_paths)


def _check_type(setting: str, kind: ObjectType, present: Collection[ObjectType]) -> None:
    if kind not in present:
        message = str(_no_match(setting, "type", _type_name(kind), {_type_name(other) for other in present}))
        warnings.warn(message, ConfigWarning, stacklevel=2)


def _no_match(setting: str, what: str, key: str, names: Collection[str]) -> ConfigError:
    present = sorted(name for name in names if name)
    close = get_close_matches(key, present, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    more = f" and {len(present) - _NAMES_SHOWN} more" if len(present) > _NAMES_SHOWN else ""
    shown = ", ".join(present[:_NAMES_SHOWN])
    return ConfigError(f"{setting} matches no {what} of the model.{hint} It has: {shown}{more}")
