"""The settings of an int8 layer from a file: what its integer op's signature has under these names."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from fxquant.errors import FileError
from fxquant.ops.op import OPS
from fxquant.qparams import FloatOutput, QParams, Requantize, Residual
from fxquant.runtime.layer import Layer
from fxquant.saving.values import decode, shortened

_USUAL = (QParams, Requantize, Residual, FloatOutput)  # which an op of a plug-in may take without saying so


def settings_of(kind: type[Layer], content: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values, and for {"fields": name} the NamedTuple of that name that the layer's integer op takes there."""
    hints = typing.get_type_hints(OPS[kind.integer_op].body)
    return {name: _setting(name, value, hints) for name, value in content.items()}


def _setting(name: str, value: Any, hints: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict) or "fields" not in value:
        return decode(value, {})
    for kind in (*_named_tuples(hints.get(name)), *_USUAL):
        if kind.__name__ == value["fields"]:
            return kind
    raise FileError(f"{shortened(name)} has fields of the unknown kind {shortened(value['fields'])}")


def _named_tuples(hint: Any) -> Iterator[type]:
    for each in (hint, *typing.get_args(hint)):
        if hasattr(each, "_fields"):
            yield each
