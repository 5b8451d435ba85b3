"""nn.Linear with int8 weights and activations that are quantized at run time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.dynamic import weight_only
from fxquant.dynamic.features import Features
from fxquant.dynamic.grouped import GroupedLinear, limit
from fxquant.dynamic.readable import readable
from fxquant.dynamic.weight import (
    IntegerWeight,
    checked_qconfig,
    given_integers,
    integers_of,
    levels_of,
    refusal,
    scales_of,
)
from fxquant.errors import ConfigError
from fxquant.graph.limits import made_by
from fxquant.kernels.dynamic import Packed, dynamic_linear_now
from fxquant.observer.scheme import plain_dtype
from fxquant.passes.annotate_dynamic import wants_integer_bias  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig, default_dynamic_qconfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import Dynamic, FloatOutput
from fxquant.runtime.layers.linear import DynamicLinear


def linear_refusal(qconfig: QConfig) -> str | None:
    """Why no linear module computes under `qconfig`, or None."""
    return weight_only.refusal(qconfig) if weight_only.is_weight_only(qconfig) else refusal(qconfig, groups=True)


class Linear(Features, DynamicLinear):
    """float32 [..., in_features] -> [..., out_features]."""

    refusal, limit = staticmethod(linear_refusal), staticmethod(limit)

    def __init__(self, in_features: int, out_features: int, bias_: bool = True, dtype: Any = torch.int8) -> None:
        """Of zeros, for `set_weight_bias`; `bias_` has no effect. Raises ConfigError for a dtype but int8 and qint8."""
        if plain_dtype(dtype) is not torch.int8:
            raise ConfigError(f"a dynamic Linear has weights of int8, not of {dtype}")
        weight = torch.zeros(out_features, in_features, dtype=torch.int8)
        super().__init__(_constants(weight, torch.ones(out_features), None, Dynamic()))

    @classmethod
    def from_float(cls, module: nn.Linear, use_precomputed_fake_quant: bool = False) -> Features:
        """What takes the place of `module`, under its `qconfig` or default_dynamic_qconfig. ConfigError if it cannot.

        A WeightOnlyLinear, if the qconfig wants integers of weights alone, and a GroupedLinear, if it wants groups.
        `use_precomputed_fake_quant` is what torch.ao's modules take too, and has no effect.
        """
        qconfig = checked_qconfig(module, default_dynamic_qconfig, linear_refusal)
        if weight_only.is_weight_only(qconfig):
            return weight_only.WeightOnlyLinear.of(module, qconfig)
        if hasattr(made_by(qconfig.weight, "quantize_dynamic"), "group_size"):
            return GroupedLinear.of(module, qconfig)
        return cls.of(module.weight, module.bias, qconfig)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, qconfig: QConfig) -> Linear:
        """From a float `weight` [N, K] and `bias` [N]."""
        integers, made = integers_of(weight, qconfig), cls.__new__(cls)
        constants = _constants(integers.codes, scales_of(integers), bias, levels_of(qconfig))
        whole = wants_integer_bias(Match(qconfig, "quantize_dynamic")) or None
        DynamicLinear.__init__(made, {**constants, "integer_bias": whole})
        return made

    def set_weight_bias(self, weight: Any, bias: Tensor | None) -> None:
        """Takes another `weight`: what `weight()` gives, or a quantized tensor of torch with zero points of 0.

        Raises ConfigError if it is neither, or does not fit.
        """
        integers = given_integers(weight)
        shapes = [list(integers.codes.shape), None if bias is None else list(bias.shape)]
        if shapes not in ([[self.out_features, self.in_features], end] for end in (None, [self.out_features])):
            raise ConfigError(f"weight and bias of {shapes[0]} and {shapes[1]} are not those of {self}")
        for name, value in _constants(integers.codes, scales_of(integers), bias, self.constant("dynamic")).items():
            self._keep(name, value)
        self.derive()

    def derive(self) -> None:
        super().derive()
        dynamic: Dynamic = self.constant("dynamic")
        self.derived_call = Packed.of(self.derived_packed, *dynamic, self.derived_integer_bias)

    @readable
    def weight(self) -> IntegerWeight:
        """The weight in integers."""
        return self._weight(self.constant("multiplier"))

    def now(self, input: Tensor) -> Any:
        return dynamic_linear_now(input, self.derived_features, self.derived_call)

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        dynamic: Dynamic = self.constant("dynamic")
        activations = "row" if dynamic.by_row else "tensor"
        biases = ", biases in int32" if self.constant("integer_bias") else ""
        return f"{self._features(self.constant('multiplier'))}, activations per {activations}{biases}"


def _constants(weight: Tensor, multiplier: Tensor, bias: Tensor | None, dynamic: Dynamic) -> dict[str, Any]:
    return {
        "weight": weight,
        "multiplier": multiplier,
        "bias": torch.zeros(len(weight)) if bias is None else bias.detach().float() + 0.0,
        "dynamic": dynamic,
        "output": FloatOutput(),
    }
