"""What linear modules of all kinds tell of themselves. `weight()` and `bias()` are methods, as in torch.ao."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.dynamic.readable import readable
from fxquant.dynamic.weight import IntegerWeight
from fxquant.qparams import FLOAT16, QParams
from fxquant.runtime.layer import Layer
from fxquant.runtime.watched import watched


class Features(Layer):
    """A layer whose constants include an int8 or float16 `weight` [N, K] and a `bias` [N]."""

    def _keep(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):  # whose names methods have
            self._buffers[name] = value
        else:
            super()._keep(name, value)

    def now(self, input: Tensor) -> Any:
        """The result for a plain tensor on the CPU, without torch's dispatcher."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Any:
        """The product. Raises InputError for a tensor that the module cannot take."""
        if type(input) is Tensor and input.is_cpu and not (input.is_neg() or watched()):
            return self.now(input)
        return super().forward(input)

    def product(self, input: Tensor, bias: Tensor | None) -> Any:
        """The product with another bias [out_features], or none."""
        y, own = self.forward(input), self.bias()
        return y + ((-own if bias is None else bias - own).to(y.dtype))

    @property
    def in_features(self) -> int:
        """How many numbers it takes of each row."""
        return int(self.constant("weight").shape[1])

    @property
    def out_features(self) -> int:
        """How many it gives."""
        return int(self.constant("weight").shape[0])

    @readable
    def bias(self) -> Tensor:
        """The bias, float32; zeros if there is none."""
        bias: Tensor | None = self.constant("bias")
        return torch.zeros(self.out_features) if bias is None else bias

    def _weight(self, scale: Tensor) -> IntegerWeight:
        """With the scales [N], which stand for one if they are all alike."""
        if self.constant("weight").dtype is torch.float16:
            return IntegerWeight(self.constant("weight"), FLOAT16)
        if _alike(scale):
            return IntegerWeight(self.constant("weight"), QParams(float(scale[0]), 0, -127, 127, torch.int8))
        return IntegerWeight(self.constant("weight"), QParams(scale, 0, -127, 127, torch.int8, 0))

    def _features(self, scale: Tensor) -> str:
        """Sizes, dtype and scheme, for `scale` of any shape."""
        if self.constant("weight").dtype is torch.float16:
            return f"in_features={self.in_features}, out_features={self.out_features}, dtype=torch.float16"
        scheme = "per_tensor" if _alike(scale) else "per_channel"
        features = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{features}, dtype=torch.int8, qscheme={scheme}_symmetric"


def _alike(scale: Tensor) -> bool:
    return bool((scale == scale.flatten()[0]).all())
