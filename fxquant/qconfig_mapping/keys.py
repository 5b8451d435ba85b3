"""Whether what a mapping names is in a model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from difflib import get_close_matches

from fxquant.errors import ConfigError, ConfigWarning
from fxquant.qconfig_mapping.defaults import is_default
from fxquant.qconfig_mapping.mapping import ObjectType, QConfigMapping, label, type_name

_NAMES_SHOWN = 20


def check_keys(
    mapping: QConfigMapping, model_paths: Collection[str], object_types_in_model: Collection[ObjectType]
) -> None:
    """Raises ConfigError for a name or a regex that matches no module, naming those that would.

    Warns with ConfigWarning of a type that is not in the model, unless `get_default_qconfig_mapping` set it: one
    mapping may serve several models. `model_paths`: of all modules.
    """
    for regex in mapping.module_name_regex_qconfigs:
        if not any(re.match(regex, path) for path in model_paths):
            raise _no_match(f"set_module_name_regex({regex!r})", "module", regex, model_paths)
    for name in mapping.module_name_qconfigs:
        if name == "":
            raise ConfigError("set_module_name('') matches nothing; for the whole model, use set_global")
        _check_name(f"set_module_name({name!r})", name, model_paths)
    for kind, qconfig in mapping.object_type_qconfigs.items():
        if not is_default(kind, qconfig):
            _check_type(f"set_object_type({label(kind)})", kind, object_types_in_model)
    for key in mapping.module_name_object_type_order_qconfigs:
        setting = f"set_module_name_object_type_order({label(key)})"
        _check_name(setting, key[0], {"", *model_paths})
        _check_type(setting, key[1], object_types_in_model)


def _check_name(setting: str, name: str, model_paths: Collection[str]) -> None:
    if name not in model_paths:
        raise _no_match(setting, "module", name, model_paths)


def _check_type(setting: str, kind: ObjectType, present: Collection[ObjectType]) -> None:
    if kind not in present:
        message = str(_no_match(setting, "type", type_name(kind), {type_name(other) for other in present}))
        warnings.warn(message, ConfigWarning, stacklevel=2)


def _no_match(setting: str, what: str, key: str, names: Collection[str]) -> ConfigError:
    present = sorted(name for name in names if name)
    close = get_close_matches(key, present, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    more = f" and {len(present) - _NAMES_SHOWN} more" if len(present) > _NAMES_SHOWN else ""
    shown = ", ".join(present[:_NAMES_SHOWN])
    return ConfigError(f"{setting} matches no {what} of the model.{hint} It has: {shown}{more}")
