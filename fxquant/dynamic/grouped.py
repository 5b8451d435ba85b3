"""nn.Linear whose weights may have a scale for each group of inputs; the form of it with dynamic activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.dynamic.features import Features
from fxquant.dynamic.readable import readable
from fxquant.dynamic.weight import IntegerWeight, integers_of, levels_of
from fxquant.errors import ConfigError
from fxquant.graph.limits import group_limit
from fxquant.passes.annotate_dynamic import integer_bias_limit, wants_integer_bias  # type: ignore[import-untyped]
from fxquant.passes.fold_weight_only import scales_of_groups  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import FloatOutput, QParams
from fxquant.runtime.layers.linear import DynamicLinearGrouped


def limit(module: nn.Linear, qconfig: QConfig) -> str | None:
    """Why `module` cannot have weights as `qconfig` asks for them, or None."""
    match = Match(qconfig, "quantize_dynamic")
    reason: str | None = group_limit(match, module.weight)
    return reason or (integer_bias_limit(module.bias) if wants_integer_bias(match) else None)


def constants_of(module: nn.Linear, qconfig: QConfig) -> dict[str, Any]:
    """Weight, scale [N, groups] and bias of `module`. Raises ConfigError if groups do not divide its inputs."""
    reason = limit(module, qconfig)
    if reason is not None:
        raise ConfigError(f"a Linear cannot have weights of this kind: {reason}")
    integers = integers_of(module.weight, qconfig)
    scale, bias = torch.as_tensor(integers.qparams.scale), module.bias
    return {
        "weight": integers.codes,
        "scale": scales_of_groups(scale, len(integers.codes)),
        "bias": torch.zeros(len(integers.codes)) if bias is None else bias.detach().float() + 0.0,
    }


class InGroups(Features):
    """A layer with a `scale` [N, groups]."""

    @readable
    def weight(self) -> IntegerWeight:
        """The weight in integers."""
        scale: Tensor = self.constant("scale")
        if scale.shape[1] > 1:
            return IntegerWeight(self.constant("weight"), QParams(scale, 0, -127, 127, torch.int8))
        return self._weight(scale[:, 0])

    def extra_repr(self) -> str:
        groups = self.constant("scale").shape[1]
        size = f", group_size={self.in_features // groups}" if groups > 1 else ""
        return f"{self._features(self.constant('scale'))}{size}"


class GroupedLinear(InGroups, DynamicLinearGrouped):
    """float32 [..., in_features] -> [..., out_features]; inputs are quantized at run time, by row."""

    @classmethod
    def of(cls, module: nn.Linear, qconfig: QConfig) -> GroupedLinear:
        """What takes the place of `module`. Raises ConfigError if groups do not divide its inputs."""
        return cls({**constants_of(module, qconfig), "dynamic": levels_of(qconfig), "output": FloatOutput()})

    def now(self, input: Tensor) -> Any:
        return self.run(input)

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, activations per row"
