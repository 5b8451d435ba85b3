"""Modules of torch.nn that stay modules in a finished graph, as their class and the arguments that make them.

nn.LSTM(8, 16, batch_first=True)   <->   "LSTM", {"input_size": 8, "hidden_size": 16, "batch_first": True, …}
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fxquant.errors import FileError, UnsupportedError
from fxquant.saving.values import shortened

_FAMILIES = """
activation batchnorm channelshuffle conv distance dropout flatten fold instancenorm linear normalization padding
pixelshuffle pooling rnn sparse upsampling
"""
_MODULES = tuple(f"torch.nn.modules.{family}" for family in _FAMILIES.split())
# Makers whose signature does not name their arguments, and arguments that are kept under another name.
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_PARAMETERS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.RNN: (*_RECURRENT, "nonlinearity"),
    nn.LSTM: (*_RECURRENT, "proj_size"),
    nn.GRU: _RECURRENT,
}
_KEPT_AS = {"add_bias_kv": "bias_k", "in_proj_bias": "in_proj_bias"}
# No argument of a real module is larger: sizes, counts and the like.
_LARGEST = 1 << 31


def leaf_class(name: object) -> type[nn.Module]:
    """The class of torch.nn of that name. Raises FileError unless it is one that files may hold."""
    kind = getattr(nn, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or kind.__module__ not in _MODULES:
        raise FileError(f"it holds a module of the unknown class {shortened(name)}")
    return kind


def arguments_of(module: nn.Module) -> dict[str, Any]:
    """What to call the module's class with, for another one like it. Raises UnsupportedError if that is not enough."""
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind or kind.__module__ not in _MODULES:
        raise UnsupportedError(f"it is a {kind.__module__}.{kind.__qualname__}, and files hold no code")
    arguments = {name: _argument(module, name) for name in _parameters(kind) if _is_kept(module, name)}
    if not _alike(module, made(kind, arguments)):
        raise UnsupportedError(f"its {kind.__name__} was changed after it was made, and files hold no code")
    return arguments


def made(kind: type[nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    """A module without memory for its parameters."""
    for name, value in arguments.items():
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise FileError(f"a {kind.__name__} with {name}={value} is not possible")
    with torch.device("meta"):
        return kind(**arguments).eval()


def filled(kind: type[nn.Module], arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """A module with these parameters and buffers. Raises FileError unless they are those that it has."""
    if int(arguments.get("num_layers") or 0) > len(state):
        raise FileError(f"a {kind.__name__} of {arguments['num_layers']} layers has more than {len(state)} tensors")
    module = made(kind, arguments)
    expected = {name: (tensor.dtype, tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()}
    if expected != found:
        raise FileError(f"the tensors of a {kind.__name__} are {shortened(found)}, not {shortened(expected)}")
    module.load_state_dict(dict(state), assign=True)
    return module


def _parameters(kind: type[nn.Module]) -> tuple[str, ...]:
    return _PARAMETERS.get(kind) or tuple(inspect.signature(kind).parameters)


def _is_kept(module: nn.Module, name: str) -> bool:
    return hasattr(module, _KEPT_AS.get(name, name))


def _argument(module: nn.Module, name: str) -> Any:
    """The attribute of that name; of a parameter, or of one that is left out, whether it is there."""
    if name == "bias" and isinstance(module, nn.MultiheadAttention):
        return module.in_proj_bias is not None
    value = getattr(module, _KEPT_AS.get(name, name))
    return value is not None if isinstance(value, Tensor) or name in module._parameters else value


def _alike(module: nn.Module, other: nn.Module) -> bool:
    """Whether both have the same options and tensors of the same names, shapes and dtypes."""
    return _options(module) == _options(other) and _tensors(module) == _tensors(other)


def _options(module: nn.Module) -> dict[str, Any]:
    plain = (bool, int, float, str, tuple, type(None))
    return {name: v for name, v in vars(module).items() if isinstance(v, plain) and name != "training"}


def _tensors(module: nn.Module) -> dict[str, Any]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in module.state_dict().items()}
