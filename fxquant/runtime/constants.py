"""What the constants of an int8 layer may be. Kernels take them as they are, so what comes from outside is checked.

The signature of the integer op says the types. Names say the rest, as they mean the same in all layers:

    weight int8, bias int32, multiplier float32, table uint8 [256] or [C, 256]
    bias float32, and neither residual nor table, where output is a FloatOutput
    gain, shift, vectors float32, rows uint8
    zero_point, code, quant_min, quant_max    in 0..255
    scale, x_scale                            a finite number above 0
    eps                                       finite, and not below 0
    multiplier                                finite
    low, high                                 a number, or an infinity
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.qparams import FloatOutput

_DTYPES = {
    "weight": torch.int8,
    "bias": torch.int32,
    "multiplier": torch.float32,
    "table": torch.uint8,
    "gain": torch.float32,
    "shift": torch.float32,
    "vectors": torch.float32,
    "rows": torch.uint8,
}
_CODES = ("zero_point", "code", "quant_min", "quant_max")


def check_constants(
    integer_op: Callable[..., Any], constants: Mapping[str, Any], also: Mapping[str, torch.dtype] = MappingProxyType({})
) -> None:
    """Raises InputError unless `constants` are arguments that the integer op's signature and the names allow.

    None stands for an argument that is not given. `also`: another dtype that tensors of a name may have.
    """
    hints = typing.get_type_hints(integer_op)
    for name, value in constants.items():
        if not fits(value, hints.get(name, Any)):
            raise InputError(f"{name} cannot be {_shown(value)}")
        if not isinstance(value, Tensor) or value.dtype is not also.get(name):
            _check_value(name, value, constants.get("output"))
        else:
            _check_tensor(name, value, value.dtype)
    if isinstance(constants.get("output"), FloatOutput):
        given = [name for name in ("residual_params", "table") if constants.get(name) is not None]
        if given:
            raise InputError(f"a layer whose output is float has no {given[0]}")


def check_names(given: Collection[str], known: Sequence[str]) -> None:
    """Raises InputError for a name that is neither among `known` nor a field of one that is: output_zero_point."""
    for name in given:
        if not any(name == other or name.startswith(f"{other}_") for other in known):
            raise InputError(f"{name} is no constant of this layer")


def check_scale(name: str, value: float) -> None:
    """Raises InputError unless `value` is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} cannot be {value}")


def fits(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`: a class, a union, a tuple, a sequence, or a NamedTuple with its fields."""
    if hint is Any:
        return True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return isinstance(value, tuple) and all(fits(item, arguments[0]) for item in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin is Sequence:
        return isinstance(value, (tuple, list)) and all(fits(item, arguments[0]) for item in value)
    if hasattr(hint, "_fields"):
        fields = typing.get_type_hints(hint)
        return isinstance(value, hint) and all(fits(getattr(value, name), fields[name]) for name in hint._fields)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, hint)


def _check_value(name: str, value: Any, output: Any = None) -> None:
    if hasattr(value, "_fields"):
        for field in value._fields:
            _check_value(field, getattr(value, field))
        _check_order(value)
    elif isinstance(value, Tensor):
        floats = name == "bias" and isinstance(output, FloatOutput)
        _check_tensor(name, value, torch.float32 if floats else _DTYPES.get(name, value.dtype))
    elif isinstance(value, int) and name.endswith(_CODES) and not 0 <= value <= 255:
        raise InputError(f"{name} must be in 0..255, not {value}")
    elif isinstance(value, float) and name in ("scale", "x_scale"):
        check_scale(name, value)
    elif isinstance(value, float) and name == "eps" and not 0 <= value < math.inf:
        raise InputError(f"eps cannot be {value}")
    elif isinstance(value, float) and name.endswith("multiplier") and not math.isfinite(value):
        raise InputError(f"{name} cannot be {value}")


def _check_order(value: Any) -> None:
    low, high = getattr(value, "quant_min", 0), getattr(value, "quant_max", 255)
    if low > high:
        raise InputError(f"quant_min = {low} is above quant_max = {high}")
    if isinstance(value, FloatOutput) and not value.low <= value.high:
        raise InputError(f"low = {value.low} is not below high = {value.high}")


def _check_tensor(name: str, value: Tensor, expected: torch.dtype) -> None:
    if value.dtype is not expected or value.layout is not torch.strided or value.device.type != "cpu":
        raise InputError(f"{name} must be a dense {expected} CPU tensor, not {value.dtype} on {value.device}")
    if name == "table" and (value.dim() not in (1, 2) or value.shape[-1] != 256):
        raise InputError(f"a table is of shape [256] or [channels, 256], not {list(value.shape)}")
    if name.endswith("multiplier") and not bool(torch.isfinite(value).all()):
        raise InputError(f"{name} holds NaN or infinity")


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {list(value.shape)}"
    return repr(value)[:80]
