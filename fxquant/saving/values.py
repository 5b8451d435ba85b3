"""The constants among the arguments of a graph's nodes, as JSON and back.

None, True, 3, "same", [1, 2], 0.5     themselves
anything else                          one entry: {"tuple": [1, 2]}, {"node": "relu"}, {"dtype": "int8"}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from fxquant.errors import FileError, UnsupportedError

# Deeper nesting, and larger integers, than any graph has.
DEEPEST = 32
_INT64 = 1 << 63
_TORCH_CONSTANTS: dict[str, type] = {
    "dtype": torch.dtype,
    "memory_format": torch.memory_format,
    "layout": torch.layout,
}


def encode(value: Any) -> Any:
    """`value` as JSON. Raises UnsupportedError for a value that has no form there."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and abs(value) < _INT64:
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item) for key, item in value.items()}}
    if isinstance(value, slice):
        return {"slice": [encode(bound) for bound in (value.start, value.stop, value.step)]}
    return _encode_constant(value)


def _encode_constant(value: Any) -> Any:
    if value is Ellipsis:
        return {"ellipsis": None}
    if isinstance(value, torch.device) and value.type == "cpu":
        return {"device": "cpu"}
    for key, kind in _TORCH_CONSTANTS.items():
        if isinstance(value, kind):
            return {key: str(value).removeprefix("torch.")}
    raise UnsupportedError(f"{value!r} ({type(value).__name__}) has no form in a file")


def decode(value: Any, nodes: Mapping[str, Node], depth: int = 0) -> Any:
    """The value behind JSON, `nodes` by name. Raises FileError for what `encode` does not write."""
    if depth > DEEPEST:
        raise FileError("its values are nested too deeply")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _INT64:
        raise FileError("it holds an integer of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise FileError(f"it holds {value} as a number")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [decode(item, nodes, depth + 1) for item in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise FileError(f"it holds the value {shortened(value)}, which has no meaning")
    [(kind, content)] = value.items()
    if kind not in _DECODERS:
        raise FileError(f"it holds a value of the unknown kind {shortened(kind)}")
    return _DECODERS[kind](content, nodes, depth + 1)


def shortened(value: Any) -> str:
    """`value` for messages, at most a line of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _items(content: Any, nodes: Mapping[str, Node], depth: int) -> list[Any]:
    if not isinstance(content, list):
        raise FileError(f"it holds {shortened(content)} where a list should be")
    return [decode(item, nodes, depth) for item in content]


def _slice(content: Any, nodes: Mapping[str, Node], depth: int) -> slice:
    bounds = _items(content, nodes, depth)
    if len(bounds) != 3:
        raise FileError(f"a slice has three bounds, not {len(bounds)}")
    return slice(*bounds)


def _dict(content: Any, nodes: Mapping[str, Node], depth: int) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise FileError(f"it holds {shortened(content)} where a dict should be")
    return {key: decode(item, nodes, depth) for key, item in content.items()}


def _node(content: Any, nodes: Mapping[str, Node], depth: int) -> Node:
    if not isinstance(content, str) or content not in nodes:
        raise FileError(f"a node reads {shortened(content)}, which no node before it computes")
    return nodes[content]


def _one_of(known: Mapping[Any, Any]) -> Callable[..., Any]:
    def decoded(content: Any, *_: Any) -> Any:
        if not isinstance(content, (str, type(None))) or content not in known:
            raise FileError(f"it holds the unknown constant {shortened(content)}")
        return known[content]

    return decoded


def _members(kind: type) -> dict[str, Any]:
    return {str(v).removeprefix("torch."): v for v in vars(torch).values() if isinstance(v, kind)}


_DECODERS: dict[Any, Callable[..., Any]] = {
    "tuple": lambda content, nodes, depth: tuple(_items(content, nodes, depth)),
    "dict": _dict,
    "slice": _slice,
    "node": _node,
    "float": _one_of({text: float(text) for text in ("inf", "-inf", "nan")}),
    "ellipsis": _one_of({None: Ellipsis}),
    "device": _one_of({"cpu": torch.device("cpu")}),
    **{key: _one_of(_members(kind)) for key, kind in _TORCH_CONSTANTS.items()},
}
