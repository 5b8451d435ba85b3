"""nn.Linear with int8 or float16 weights and activations that stay float32 or bfloat16."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fxquant.dynamic.grouped import InGroups, constants_of
from fxquant.graph.limits import weight_config_limit
from fxquant.kernels.weight_only import weight_only_linear_now
from fxquant.passes.annotate_weight_only import in_integers, wants_weight_only  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import FloatOutput
from fxquant.runtime.layers import linear
from fxquant.target import active_isa


def is_weight_only(qconfig: QConfig) -> bool:
    """Whether `qconfig` wants integers, or float16, of weights alone."""
    wanted: bool = wants_weight_only(Match(qconfig, "quantize_dynamic"))
    return wanted


def refusal(qconfig: QConfig) -> str | None:
    """Why no module computes under such a `qconfig`, or None."""
    reason: str | None = weight_config_limit(in_integers(Match(qconfig, "quantize_dynamic")), (0,))
    return reason


class WeightOnlyLinear(InGroups, linear.WeightOnlyLinear):
    """float32 or bfloat16 [..., in_features] -> the same [..., out_features]."""

    @classmethod
    def of(cls, module: nn.Linear, qconfig: QConfig) -> WeightOnlyLinear:
        """What takes the place of `module`. Raises ConfigError if groups do not divide its inputs."""
        return cls({**constants_of(module, qconfig), "output": FloatOutput()})

    def derive(self) -> None:
        super().derive()
        self.derived_call = (self.derived_packed.data_ptr(), self.derived_packed.numel(), active_isa())

    def now(self, input: Tensor) -> Any:
        return weight_only_linear_now(input, self.derived_features, self.derived_call)

    def _get_name(self) -> str:
        return "WeightOnlyQuantizedLinear"
