"""The form that each setting of a custom config has, whoever wrote it: a setter, a dict, an attribute, torch.ao.

check(config, "prepare_custom_config")         raises ConfigError for the first setting that makes no sense
made_of(module, Observed, "from_float", "rnn", qconfig)  what the user's class makes of a module, if it is one
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from torch import nn

from fxquant.custom_config import StandaloneModuleConfigEntry
from fxquant.errors import ConfigError
from fxquant.quant_type import QuantType

Fits = Callable[[Any], bool]


class Form(NamedTuple):
    """Which values a setting may have, for a program and for a reader."""

    fits: Fits
    words: str


def check(config: Any, argument: str) -> None:
    """Raises ConfigError unless every setting that `config`, the `argument` of a stage, has is of its form."""
    for setting, form in _FORMS.items():
        value = getattr(config, setting, None)
        if value is not None and not form.fits(value):
            raise ConfigError(f"{argument}.{setting} is {reprlib.repr(value)}; it must be {form.words}")


def made_of(module: nn.Module, kind: Any, maker: str, place: str, qconfig: Any) -> nn.Module:
    """`kind.maker(module)`, of the module at `place`. Raises ConfigError if that fails or gives no module.

    `qconfig`: the module's, and that of all modules in it that have none yet: their classes may want it, too.
    """
    for each in module.modules():
        if not hasattr(each, "qconfig"):
            each.qconfig = qconfig
    call = f"{kind.__name__}.{maker}, given the {type(module).__name__} {place},"
    try:
        made = getattr(kind, maker)(module)
    except Exception as error:  # whatever the user's class raises
        raise ConfigError(f"{call} raises {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{call} gives a {type(made).__name__}, not a module")
    return made


def _is_module_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_entry(value: Any) -> bool:
    return all(hasattr(value, field.name) for field in fields(StandaloneModuleConfigEntry))


def _list_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, (list, tuple)) and all(map(fits, value))


def _indexes(value: Any) -> bool:
    return _list_of(_is_index)(value) and len(set(value)) == len(value)


def _dict_of(key_fits: Fits, value_fits: Fits) -> Fits:
    return lambda value: (
        isinstance(value, Mapping) and all(map(key_fits, value)) and all(map(value_fits, value.values()))
    )


def _classes_with(maker: str) -> Form:
    makes = _dict_of(_is_module_class, lambda made: callable(getattr(made, maker, None)))
    is_quant_type = lambda key: getattr(key, "name", None) in QuantType.__members__  # noqa: E731  torch.ao's, too
    words = f"a dict {{QuantType: {{module class: class with a method {maker}}}}}"
    return Form(_dict_of(is_quant_type, makes), words)


_NAMES = Form(_list_of(_is_name), "a list of names")
_INDEXES = Form(_indexes, "a list of different integers")
_FORMS = {
    "standalone_module_names": Form(
        _dict_of(_is_name, _is_entry), "a dict {name of a module: StandaloneModuleConfigEntry}"
    ),
    "standalone_module_classes": Form(
        _dict_of(_is_module_class, _is_entry), "a dict {module class: StandaloneModuleConfigEntry}"
    ),
    "float_to_observed_mapping": _classes_with("from_float"),
    "observed_to_quantized_mapping": _classes_with("from_observed"),
    "non_traceable_module_names": _NAMES,
    "non_traceable_module_classes": Form(_list_of(_is_module_class), "a list of module classes"),
    "input_quantized_indexes": _INDEXES,
    "output_quantized_indexes": _INDEXES,
    "preserved_attributes": _NAMES,
}
