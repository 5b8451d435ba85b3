"""nn.Linear with int8 weights and activations that stay float32 or bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.dynamic.features import Features
from fxquant.dynamic.weight import IntegerWeight, integers_of
from fxquant.errors import ConfigError
from fxquant.kernels.weight_only import weight_only_linear_now
from fxquant.passes.annotate_int8 import group_limit, weight_config_limit  # type: ignore[import-untyped]
from fxquant.passes.annotate_weight_only import wants_weight_only  # type: ignore[import-untyped]
from fxquant.passes.fold_weight_only import scales_of_groups  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import FloatOutput, QParams
from fxquant.runtime.layers import linear
from fxquant.target import active_isa


def is_weight_only(qconfig: QConfig) -> bool:
    """Whether `qconfig` wants integers of weights alone."""
    wanted: bool = wants_weight_only(Match(qconfig, "quantize_dynamic"))
    return wanted


def refusal(qconfig: QConfig) -> str | None:
    """Why no module computes under such a `qconfig`, or None."""
    reason: str | None = weight_config_limit(Match(qconfig, "quantize_dynamic"), (0,))
    return reason


def limit(module: nn.Linear, qconfig: QConfig) -> str | None:
    """Why `module` cannot have weights as such a `qconfig` asks for them, or None."""
    reason: str | None = group_limit(Match(qconfig, "quantize_dynamic"), module.weight)
    return reason


class WeightOnlyLinear(Features, linear.WeightOnlyLinear):
    """float32 or bfloat16 [..., in_features] -> the same [..., out_features]."""

    @classmethod
    def of(cls, module: nn.Linear, qconfig: QConfig) -> WeightOnlyLinear:
        """What takes the place of `module`. Raises ConfigError if groups do not divide its inputs."""
        reason = limit(module, qconfig)
        if reason is not None:
            raise ConfigError(f"a Linear cannot have weights of this kind: {reason}")
        integers = integers_of(module.weight, qconfig)
        scale, bias = torch.as_tensor(integers.qparams.scale), module.bias
        return cls(
            {
                "weight": integers.codes,
                "scale": scales_of_groups(scale, len(integers.codes)),
                "bias": torch.zeros(len(integers.codes)) if bias is None else bias.detach().float() + 0.0,
                "output": FloatOutput(),
            }
        )

    def weight(self) -> IntegerWeight:
        """The weight in integers."""
        scale: Tensor = self.constant("scale")
        if scale.shape[1] > 1:
            return IntegerWeight(self.constant("weight"), QParams(scale, 0, -127, 127, torch.int8))
        return self._weight(scale[:, 0])

    def derive(self) -> None:
        super().derive()
        self.derived_call = (self.derived_packed.data_ptr(), self.derived_packed.numel(), active_isa())

    def now(self, input: Tensor) -> Any:
        return weight_only_linear_now(input, self.derived_features, self.derived_call)

    def _get_name(self) -> str:
        return "WeightOnlyQuantizedLinear"

    def extra_repr(self) -> str:
        groups = self.constant("scale").shape[1]
        size = f", group_size={self.in_features // groups}" if groups > 1 else ""
        return f"{self._features(self.constant('scale'))}{size}"
