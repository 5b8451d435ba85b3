"""A recurrent layer whose products are too fine for 8 bits: fxquant/passes/fold_two_bytes.py has its arithmetic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.dynamic.weight import levels_of
from fxquant.dynamic.weight_only import WeightOnlyLinear
from fxquant.errors import InputError
from fxquant.passes.fold_two_bytes import TwoBytes  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig
from fxquant.qparams import FloatOutput
from fxquant.runtime.layers.recurrent import DynamicRecurrenceStates


class InputsInFloat(nn.Module):
    """x float32 [T, B, I], h0, c0 -> float32 [T, B, H] and the last cell state [B, H]."""

    columns: Tensor

    def __init__(self, kind: str, weights: list[Any], reverse: bool, qconfig: QConfig) -> None:
        super().__init__()
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        layer = TwoBytes.of(kind, (weight_ih, weight_hh), (bias_ih, bias_hh), qconfig.weight)
        self.rows: slice = layer.rows
        self.register_buffer("columns", layer.columns)
        self.inputs, self.low_inputs = (_product(*each) for each in (layer.inputs, layer.low_inputs))
        settings = {"kind": kind, "reverse": reverse, "dynamic": levels_of(qconfig)}
        self.steps = DynamicRecurrenceStates({**layer.steps, **settings})

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        """All steps, from the last one on if it is reversed. Raises InputError for another shape or dtype."""
        if x.dtype is not torch.float32 or x.dim() != 3 or x.shape[2] != self.inputs.in_features:
            wanted = f"float32 [steps, batch, {self.inputs.in_features}]"
            raise InputError(f"it takes {wanted}, not {x.dtype} of {list(x.shape)}")
        x = x * self.columns
        a = self.inputs(x)
        a[..., self.rows] += self.low_inputs(x)
        return self.steps(a, h0, c0)


def _product(codes: Tensor, scale: Tensor, bias: Tensor | None) -> WeightOnlyLinear:
    return WeightOnlyLinear({"weight": codes, "scale": scale, "bias": bias, "output": FloatOutput()})
