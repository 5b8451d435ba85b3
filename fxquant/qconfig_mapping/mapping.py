"""Settings on five levels, and which of them is that of a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fxquant.errors import ConfigError
from fxquant.qconfig import QConfigAny

ObjectType = type | Callable[..., Any] | str  # a module class, a function, or the name of a tensor method
OrderKey = tuple[str, ObjectType, int]

_DICT_KEYS = ("", "object_type", "module_name_regex", "module_name", "module_name_object_type_order")


class Match(NamedTuple):
    """The QConfig of an op, and the setting that gave it, such as "set_module_name('features.3', None)".

    `reason`: why it is None, where a pass and no setting says so.
    """

    qconfig: QConfigAny
    source: str
    reason: str = ""


class QConfigMapping:
    """Settings on five levels, see fxquant.qconfig_mapping. Each setter returns the mapping, so they can be chained."""

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

    def object_types(self) -> set[ObjectType]:
        """All that a setting names."""
        return {*self.object_type_qconfigs, *(kind for _, kind, _ in self.module_name_object_type_order_qconfigs)}

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
            lines += [f"set_{name}({label(key)}, {qconfig})" for *key, qconfig in (entries if name else ())]
        return "\n  .".join(["QConfigMapping()", *lines])


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
            return Match(settings[key], f"{setter}({label(key)}, {_shown(settings[key])})")
    return None


def _prefixes(path: str) -> Iterator[str]:
    """a.b.c, a.b, a"""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _shown(qconfig: QConfigAny) -> str:
    return "None" if qconfig is None else "qconfig"


def label(key: Any) -> str:
    """A key as the user would write it."""
    if isinstance(key, (tuple, list)):
        return ", ".join(map(label, key))
    return repr(key) if isinstance(key, (str, int)) else type_name(key)


def type_name(kind: ObjectType) -> str:
    """A type as the user would write it."""
    if isinstance(kind, str):
        return kind
    name = getattr(kind, "__qualname__", None) or getattr(kind, "__name__", repr(kind))
    return str(name)
