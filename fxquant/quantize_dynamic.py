"""quantize_dynamic: modules are replaced one by one, in models that are traced or not."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from fxquant import dynamic, interop
from fxquant.dynamic.recurrent import LAYER_QCONFIGS, suffixes_of
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.qconfig import (
    QConfig,
    default_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
)

__all__ = ["get_default_dynamic_quant_module_mappings", "quantize_dynamic"]

_PRODUCTS: dict[type[nn.Module], Any] = {
    nn.Linear: dynamic.Linear,
    nn.LSTM: dynamic.LSTM,
    nn.GRU: dynamic.GRU,
    nn.RNN: dynamic.RNN,
    nn.LSTMCell: dynamic.LSTMCell,
    nn.GRUCell: dynamic.GRUCell,
    nn.RNNCell: dynamic.RNNCell,
}
_TABLES: dict[type[nn.Module], Any] = {nn.Embedding: dynamic.Embedding, nn.EmbeddingBag: dynamic.EmbeddingBag}

# For each dtype its QConfig, and the modules that have it where none are named.
_DEFAULTS: dict[str, tuple[QConfig, Collection[type[nn.Module]]]] = {
    "int8": (default_dynamic_qconfig, _PRODUCTS),
    "uint8": (float_qparams_weight_only_qconfig, _TABLES),
    "uint4x2": (float_qparams_weight_only_qconfig_4bit, (nn.EmbeddingBag,)),
}

Key = type | str | nn.Module


def get_default_dynamic_quant_module_mappings() -> dict[type[nn.Module], Any]:
    """Which module takes the place of which, by its `from_float`."""
    return {**_PRODUCTS, **_TABLES}


def quantize_dynamic(
    model: nn.Module,
    qconfig_spec: Mapping[Key, Any] | Collection[Key] | None = None,
    dtype: Any = torch.int8,
    mapping: Mapping[type[nn.Module], Any] | None = None,
    inplace: bool = False,
) -> nn.Module:
    """`model` in eval mode with integers in its products: no data is needed, and no part of it is traced.

    `qconfig_spec`: module classes, names ("encoder.0") or instances, as a collection, or with a QConfig each (None:
    stays float); a setting holds for what is within the module, too, and the most specific one decides: an instance, a
    name, a class, what is around it. A layer of an LSTM, GRU or RNN has a name as well ("lstm.l0", "lstm.l0_reverse").
    Without it Linear, LSTM, GRU, RNN and their cells are quantized, of `dtype` uint8
    (or quint8) Embedding and EmbeddingBag, of quint4x2 EmbeddingBag. `dtype` chooses the QConfig of a collection.
    `mapping`: classes by those that they take the place of, each with `from_float(module)`, which finds the QConfig as
    `module.qconfig`. Only exact classes are replaced. `inplace`: the model itself is changed, not a copy.

    Raises ConfigError for what is not in the model, for another dtype, and for a QConfig that a named module cannot
    have. Warns with ConfigWarning of modules that were named and have no such form.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"quantize_dynamic takes an nn.Module, not a {type(model).__name__}")
    default, types = _default(dtype)
    if qconfig_spec is None:
        spec: dict[Any, Any] = dict.fromkeys(types, default)
    elif isinstance(qconfig_spec, Mapping):
        spec = {key: interop.qconfig(value) for key, value in qconfig_spec.items()}
    else:
        spec = dict.fromkeys(qconfig_spec, default)
    _check(spec, model)
    names = {id(module): name for name, module in model.named_modules()}
    spec = {names[id(key)] if isinstance(key, nn.Module) else key: value for key, value in spec.items()}
    made = model if inplace else copy.deepcopy(model)
    made.eval()
    return _Replacer(spec, dict(mapping or get_default_dynamic_quant_module_mappings())).replaced(made, "", None)


def _default(dtype: Any) -> tuple[QConfig, Collection[type[nn.Module]]]:
    name = str(dtype).removeprefix("torch.").removeprefix("q")
    if name not in _DEFAULTS:
        raise ConfigError(f"quantize_dynamic knows no {dtype}; it knows {', '.join(_DEFAULTS)}, each with q before it")
    return _DEFAULTS[name]


def _check(spec: Mapping[Any, Any], model: nn.Module) -> None:
    names = {name for name, _ in model.named_modules()} | set(_layer_names(model))
    instances = {id(module) for module in model.modules()}
    for key, qconfig in spec.items():
        if isinstance(key, str) and key not in names:
            near = get_close_matches(key, names, 3)
            raise ConfigError(f"no module is called {key!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        if isinstance(key, nn.Module) and id(key) not in instances:
            raise ConfigError(f"a {type(key).__name__} that was given is no module of the model")
        if not isinstance(key, (str, type, nn.Module)):
            raise ConfigError(f"qconfig_spec has module classes, names and instances, not {key!r}")
        if qconfig is not None and not isinstance(qconfig, QConfig):
            raise ConfigError(f"the setting for {key!r} is no QConfig, but {qconfig!r}")


def _layer_names(model: nn.Module) -> Iterator[str]:
    """Of all layers of recurrent modules."""
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            yield from (f"{name}.{suffix[1:]}" if name else suffix[1:] for suffix in suffixes_of(module))


class _Replacer:
    def __init__(self, spec: dict[Any, Any], mapping: dict[type[nn.Module], Any]) -> None:
        self.spec, self.mapping = spec, mapping
        self.known: dict[int, nn.Module] = {}

    def replaced(self, module: nn.Module, name: str, around: Any) -> nn.Module:
        """What stands for `module`, whose parts are replaced in place."""
        if id(module) in self.known:
            return self.known[id(module)]
        own = self.spec.get(name, self.spec.get(type(module), _NOTHING))
        own = interop.qconfig(module.qconfig) if getattr(module, "qconfig", None) is not None else own
        qconfig = around if own is _NOTHING else own
        result = self._made(module, name, qconfig, named=own is not _NOTHING)
        if result is module:
            for part, child in list(module._modules.items()):
                if child is not None:
                    module._modules[part] = self.replaced(child, f"{name}.{part}" if name else part, qconfig)
            _leave_fast_path(module)
        self.known[id(module)] = result
        return result

    def _made(self, module: nn.Module, name: str, qconfig: Any, named: bool) -> nn.Module:
        kind = self.mapping.get(type(module))
        if qconfig is None:
            return module
        if kind is None:
            if named and not list(module.children()) and list(module.parameters()):
                warnings.warn(
                    f"{name or 'the model'}, a {type(module).__name__}, has no dynamic form, and stays float",
                    ConfigWarning,
                    stacklevel=5,
                )
            return module
        reason = kind.refusal(qconfig) if hasattr(kind, "refusal") else None
        if reason is not None:
            if named:
                raise ConfigError(f"{name or 'the model'}, a {type(module).__name__}, cannot be quantized: {reason}")
            return module
        module.qconfig = qconfig
        if isinstance(module, nn.RNNBase):
            paths = {suffix[1:]: f"{name}.{suffix[1:]}" if name else suffix[1:] for suffix in suffixes_of(module)}
            own = {layer: self.spec[path] for layer, path in paths.items() if path in self.spec}
            setattr(module, LAYER_QCONFIGS, own)
        made: nn.Module = kind.from_float(module)
        return made


_NOTHING = object()


def _leave_fast_path(module: nn.Module) -> None:
    """Transformer layers of torch compute with the float weights of their parts, unless something speaks against it."""
    if isinstance(module, nn.TransformerEncoderLayer) and not isinstance(module.linear1, nn.Linear):
        module.activation_relu_or_gelu = 0
    if isinstance(module, nn.TransformerEncoder) and any(
        getattr(layer, "activation_relu_or_gelu", None) == 0 for layer in module.layers
    ):
        module.use_nested_tensor = False
