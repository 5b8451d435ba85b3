"""nn.Linear with int8 weights and activations that are quantized at run time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.dynamic.weight import IntegerWeight, checked_qconfig, integers_of, levels_of, refusal, scales_of
from fxquant.kernels.dynamic import Packed, dynamic_linear_now
from fxquant.qconfig import QConfig, default_dynamic_qconfig
from fxquant.qparams import Dynamic, FloatOutput, QParams
from fxquant.runtime.layers.linear import DynamicLinear
from fxquant.runtime.watched import watched


class Linear(DynamicLinear):
    """float32 [..., in_features] -> [..., out_features]. `weight()` and `bias()` are methods, as in torch.ao."""

    refusal = staticmethod(refusal)

    @classmethod
    def from_float(cls, module: nn.Linear, use_precomputed_fake_quant: bool = False) -> Linear:
        """What takes the place of `module`, under its `qconfig` or default_dynamic_qconfig. ConfigError if it cannot.

        `use_precomputed_fake_quant` is what torch.ao's modules take too, and has no effect.
        """
        return cls.of(module.weight, module.bias, checked_qconfig(module, default_dynamic_qconfig))

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, qconfig: QConfig) -> Linear:
        """From a float `weight` [N, K] and `bias` [N]."""
        integers = integers_of(weight, qconfig)
        return cls(
            {
                "weight": integers.codes,
                "multiplier": scales_of(integers),
                "bias": torch.zeros(len(weight)) if bias is None else bias.detach().float() + 0.0,
                "dynamic": levels_of(qconfig),
                "output": FloatOutput(),
            }
        )

    def _keep(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):  # whose names methods have
            self._buffers[name] = value
        else:
            super()._keep(name, value)

    def derive(self) -> None:
        super().derive()
        self.derived_call = Packed.of(self.derived_packed, *self.derived_arguments)

    @property
    def in_features(self) -> int:
        """How many numbers it takes of each row."""
        return int(self.constant("weight").shape[1])

    @property
    def out_features(self) -> int:
        """How many it gives."""
        return int(self.constant("weight").shape[0])

    def weight(self) -> IntegerWeight:
        """The weight in integers."""
        scale: Tensor = self.constant("multiplier")
        if self._per_tensor:
            return IntegerWeight(self.constant("weight"), QParams(float(scale[0]), 0, -127, 127, torch.int8))
        return IntegerWeight(self.constant("weight"), QParams(scale, 0, -127, 127, torch.int8, 0))

    @property
    def _per_tensor(self) -> bool:
        scale: Tensor = self.constant("multiplier")
        return bool((scale == scale[0]).all())

    def bias(self) -> Tensor:
        """The bias, float32; zeros if there is none."""
        bias: Tensor = self.constant("bias")
        return bias

    def forward(self, input: Tensor) -> Any:
        """The product. Raises InputError for a tensor that the module cannot take."""
        if type(input) is Tensor and input.is_cpu and not (input.is_neg() or watched()):
            return dynamic_linear_now(input, self.derived_features, self.derived_call)
        return super().forward(input)

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        dynamic: Dynamic = self.constant("dynamic")
        scheme = "per_tensor" if self._per_tensor else "per_channel"
        activations = "row" if dynamic.by_row else "tensor"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dtype=torch.int8, "
            f"qscheme={scheme}_symmetric, activations per {activations}"
        )
