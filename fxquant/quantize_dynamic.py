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
from fxquant.arguments import typed
from fxquant.dynamic.recurrent import LAYER_QCONFIGS, suffixes_of
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.graph.settled_weights import computes_weights, settle_weights, settled_copy
from fxquant.qconfig import (
    QConfig,
    default_dynamic_qconfig,
    float16_dynamic_qconfig,
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
_CONVOLUTIONS: dict[type[nn.Module], Any] = {
    nn.Conv1d: dynamic.Conv1d,
    nn.Conv2d: dynamic.Conv2d,
    nn.Conv3d: dynamic.Conv3d,
    nn.ConvTranspose1d: dynamic.ConvTranspose1d,
    nn.ConvTranspose2d: dynamic.ConvTranspose2d,
    nn.ConvTranspose3d: dynamic.ConvTranspose3d,
}
_TABLES: dict[type[nn.Module], Any] = {nn.Embedding: dynamic.Embedding, nn.EmbeddingBag: dynamic.EmbeddingBag}

# For each dtype its QConfig, and the modules that have it where none are named.
_DEFAULTS: dict[str, tuple[QConfig, Collection[type[nn.Module]]]] = {
    "int8": (default_dynamic_qconfig, _PRODUCTS),
    "float16": (float16_dynamic_qconfig, _PRODUCTS),
    "uint8": (float_qparams_weight_only_qconfig, _TABLES),
    "uint4x2": (float_qparams_weight_only_qconfig_4bit, (nn.EmbeddingBag,)),
}

Key = type | str | nn.Module


def get_default_dynamic_quant_module_mappings() -> dict[type[nn.Module], Any]:
    """Which module takes the place of which, by its `from_float`."""
    return {**_PRODUCTS, **_CONVOLUTIONS, **_TABLES}


@typed
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
    Without it Linear, LSTM, GRU, RNN and their cells are quantized; of `dtype` float16 they keep their weights as such;
    of uint8 (or quint8) Embedding and EmbeddingBag, of quint4x2 EmbeddingBag. `dtype` chooses the QConfig of a
    collection. Convolutions are quantized where they are named, or what they are in; depthwise ones stay float.
    `mapping`: classes by those that they take the place of, each with `from_float(module)`, which finds the QConfig as
    `module.qconfig`. Only exact classes are replaced. `inplace`: the model itself is changed, not a copy.

    Raises ConfigError for what is not in the model, for another dtype, and for a QConfig that a named module cannot
    have. Warns with ConfigWarning of modules that were named and stay float, for what they are themselves.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"quantize_dynamic takes an nn.Module, not a {type(model).__name__}")
    default, types = _default(dtype)
    if qconfig_spec is None:
        spec: dict[Any, Any] = dict.fromkeys(types, default)
    elif isinstance(qconfig_spec, Mapping):
        spec = {key: interop.qconfig(value) for key, value in qconfig_spec.items()}
    elif isinstance(qconfig_spec, (str, torch.Tensor)):
        raise ConfigError(f"qconfig_spec is a mapping, or a set of classes, names and instances, not {qconfig_spec!r}")
    else:
        spec = {_key(key): default for key in qconfig_spec}
    _check(spec, model)
    names = {id(module): name for name, module in model.named_modules()}
    spec = {names[id(key)] if isinstance(key, nn.Module) else key: value for key, value in spec.items()}
    if computes_weights(model):
        model, inplace = _settled(model, inplace), True
    replacements = _Replacements(spec, dict(mapping or get_default_dynamic_quant_module_mappings()))
    replacements.find(model, "", None)
    for reason, left in replacements.left.items():
        warnings.warn(f"{'; '.join(left)}: stays float, since {reason}", ConfigWarning, stacklevel=2)
    made = _in_place(model, replacements.made) if inplace else copy.deepcopy(model, dict(replacements.made))
    for module in reversed(list(made.modules())):  # layers before what has them
        _leave_fast_path(module)
    return made.eval()


def _settled(model: nn.Module, inplace: bool) -> nn.Module:
    if not inplace:
        return settled_copy(model)
    settle_weights(model)
    return model


def _in_place(model: nn.Module, made: Mapping[int, nn.Module]) -> nn.Module:
    for module in list(model.modules()):
        for name, part in module._modules.items():
            module._modules[name] = part if part is None else made.get(id(part), part)
    return made.get(id(model), model)


def _default(dtype: Any) -> tuple[QConfig, Collection[type[nn.Module]]]:
    name = str(dtype).removeprefix("torch.").removeprefix("q")
    if name not in _DEFAULTS:
        raise ConfigError(
            f"quantize_dynamic knows no {dtype}; it knows {', '.join(_DEFAULTS)}, integers with q before them, too"
        )
    return _DEFAULTS[name]


def _key(given: Any) -> Key:
    """`given`; ConfigError if no setting can be for it."""
    if not isinstance(given, (str, type, nn.Module)):
        raise ConfigError(f"qconfig_spec has module classes, names and instances, not {given!r}")
    return given


def _check(spec: Mapping[Any, Any], model: nn.Module) -> None:
    names = {name for name, _ in model.named_modules()} | set(_layer_names(model))
    instances = {id(module) for module in model.modules()}
    for key, qconfig in spec.items():
        _key(key)
        if isinstance(key, str) and key not in names:
            near = get_close_matches(key, names, 3)
            raise ConfigError(f"no module is called {key!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        if isinstance(key, nn.Module) and id(key) not in instances:
            raise ConfigError(f"a {type(key).__name__} that was given is no module of the model")
        if qconfig is not None and not isinstance(qconfig, QConfig):
            raise ConfigError(f"the setting for {key!r} is no QConfig, but {qconfig!r}")


def _layer_names(model: nn.Module) -> Iterator[str]:
    """Of all layers of recurrent modules."""
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            yield from (f"{name}.{suffix[1:]}" if name else suffix[1:] for suffix in suffixes_of(module))


class _Replacements:
    """`made`: what takes the place of which module, by the latter's id. No float weight is copied.

    `left`: the names of those that were named and stay float, by the reason.
    """

    def __init__(self, spec: dict[Any, Any], mapping: dict[type[nn.Module], Any]) -> None:
        self.spec, self.mapping = spec, mapping
        self.made: dict[int, nn.Module] = {}
        self.left: dict[str, list[str]] = {}

    def find(self, module: nn.Module, name: str, around: Any) -> None:
        """Looks at `module`, within what has the setting `around`, and at all that it is made of."""
        if id(module) in self.made:
            return
        own = self.spec.get(name, self.spec.get(type(module), _NOTHING))
        own = interop.qconfig(module.qconfig) if getattr(module, "qconfig", None) is not None else own
        qconfig = around if own is _NOTHING else own
        if qconfig is not None and self._fits(module, name, qconfig, named=own is not _NOTHING):
            self.made[id(module)] = self._replacement(module, name, qconfig)
            return
        for part, child in module.named_children():
            self.find(child, f"{name}.{part}" if name else part, qconfig)

    def _fits(self, module: nn.Module, name: str, qconfig: QConfig, named: bool) -> bool:
        kind, what = self.mapping.get(type(module)), f"{name or 'the model'}, a {type(module).__name__}"
        if kind is None:
            if named and not list(module.children()) and list(module.parameters()):
                self.left.setdefault("it has no dynamic form", []).append(what)
            return False
        reason = kind.refusal(qconfig) if hasattr(kind, "refusal") else None
        if reason is not None and named:
            raise ConfigError(f"{what}, cannot be quantized: {reason}")
        limit = kind.limit(module, qconfig) if reason is None and hasattr(kind, "limit") else None
        if limit is not None and named:
            self.left.setdefault(limit, []).append(what)
        return reason is None and limit is None

    def _replacement(self, module: nn.Module, name: str, qconfig: QConfig) -> nn.Module:
        twin = copy.copy(module)  # of the same parameters, so that the module itself gets no settings
        twin.qconfig = qconfig  # type: ignore[assignment]
        if isinstance(module, nn.RNNBase):
            paths = {suffix[1:]: f"{name}.{suffix[1:]}" if name else suffix[1:] for suffix in suffixes_of(module)}
            own = {layer: self.spec[path] for layer, path in paths.items() if path in self.spec}
            setattr(twin, LAYER_QCONFIGS, own)
        made: nn.Module = self.mapping[type(module)].from_float(twin)
        made._forward_pre_hooks.update(module._forward_pre_hooks)
        made._forward_hooks.update(module._forward_hooks)
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
