"""A recurrent layer whose products are too fine for 8 bits: of its weights, or of inputs that differ a thousandfold.

The products with its inputs, one for all steps, are made in float32, which costs little beside the steps. Those with
its states, which lie within -1..1, have weights of 16 bits and states of 8.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.dynamic.weight import integers_of, levels_of, scales_of
from fxquant.errors import InputError
from fxquant.qconfig import QConfig
from fxquant.runtime.layers.recurrent import DynamicRecurrenceStates


class InputsInFloat(nn.Module):
    """x float32 [T, B, I], h0, c0 -> float32 [T, B, H] and the last cell state [B, H]."""

    weight_ih: Tensor
    bias_ih: Tensor | None

    def __init__(self, kind: str, weights: list[Any], reverse: bool, qconfig: QConfig) -> None:
        super().__init__()
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        self.register_buffer("weight_ih", weight_ih.detach().float().clone())
        self.register_buffer("bias_ih", None if bias_ih is None else bias_ih.detach().float().clone())
        integers = integers_of(weight_hh, qconfig)
        self.steps = DynamicRecurrenceStates(
            {
                "weight_hh": integers.codes,
                "bias_hh": torch.zeros(len(weight_hh)) if bias_hh is None else bias_hh.detach().float().clone(),
                "multiplier_hh": scales_of(integers),
                "kind": kind,
                "reverse": reverse,
                "dynamic": levels_of(qconfig),
            }
        )

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        """All steps, from the last one on if it is reversed. Raises InputError for another shape or dtype."""
        if x.dtype is not torch.float32 or x.dim() != 3 or x.shape[2] != self.weight_ih.shape[1]:
            wanted = f"float32 [steps, batch, {self.weight_ih.shape[1]}]"
            raise InputError(f"it takes {wanted}, not {x.dtype} of {list(x.shape)}")
        return self.steps(F.linear(x, self.weight_ih, self.bias_ih), h0, c0)
