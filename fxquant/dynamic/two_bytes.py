"""A recurrent layer whose products are too fine for 8 bits: of its weights, or of inputs that differ a thousandfold.

Its inputs stay float32: their products, one for all steps, cost little beside the steps. States, which lie within
-1..1, have 8 bits. Weights of both have 16 bits in the candidate gate, and 8 in the others, which sigmoids flatten.

    w_ih x = (w_ih / c) (c x), c[k] the power of 2 below the largest |w_ih[n, k]|

is exact, and lets each input have its share of the steps of a weight's row, however the inputs differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fxquant import qparams
from fxquant.dynamic.weight import integers_of, levels_of, scales_of
from fxquant.dynamic.weight_only import WeightOnlyLinear
from fxquant.errors import InputError
from fxquant.kernels.recurrent import bytes_of
from fxquant.ops.integer.recurrent import candidate_rows, gate_biases
from fxquant.qconfig import QConfig
from fxquant.qparams import FloatOutput, QParams
from fxquant.runtime.layers.recurrent import DynamicRecurrenceStates


class Bytes(NamedTuple):
    """int8 `codes` [G * H, K], `scale` [G * H] float32; of candidates high bytes, whose low ones are `low` [H, K]."""

    codes: Tensor
    low: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor, rows: slice, qconfig: QConfig) -> Bytes:
        """Of a float `weight` [G * H, K] with candidates in `rows`, by the int16 observer of `qconfig`."""
        wide = integers_of(weight, qconfig)
        high, low = bytes_of(wide.codes[rows])
        scale = scales_of(wide) * (wide.qparams.quant_max / 127)
        codes = qparams.quantize(weight.detach(), QParams(scale, 0, -127, 127, torch.int8, 0))
        codes[rows], scale[rows] = high, scales_of(wide)[rows]
        return cls(codes, low, scale)


class InputsInFloat(nn.Module):
    """x float32 [T, B, I], h0, c0 -> float32 [T, B, H] and the last cell state [B, H]."""

    columns: Tensor

    def __init__(self, kind: str, weights: list[Any], reverse: bool, qconfig: QConfig) -> None:
        super().__init__()
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        bias, step_bias = gate_biases(kind, bias_ih, bias_hh, len(weight_ih))
        self.rows = candidate_rows(kind, weight_ih)
        self.register_buffer("columns", _columns(weight_ih.detach().float()))
        ih, hh = (Bytes.of(weight, self.rows, qconfig) for weight in (weight_ih / self.columns, weight_hh))
        worth = ih.scale.clone()
        worth[self.rows] *= 256.0
        self.inputs = _product(ih.codes, worth, bias)
        self.low_inputs = _product(ih.low, ih.scale[self.rows], None)
        self.steps = DynamicRecurrenceStates(
            {
                "weight_hh": hh.codes,
                "low_hh": hh.low,
                "bias_hh": step_bias,
                "multiplier_hh": hh.scale,
                "kind": kind,
                "reverse": reverse,
                "dynamic": levels_of(qconfig),
            }
        )

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        """All steps, from the last one on if it is reversed. Raises InputError for another shape or dtype."""
        if x.dtype is not torch.float32 or x.dim() != 3 or x.shape[2] != self.inputs.in_features:
            wanted = f"float32 [steps, batch, {self.inputs.in_features}]"
            raise InputError(f"it takes {wanted}, not {x.dtype} of {list(x.shape)}")
        x = x * self.columns
        a = self.inputs(x)
        a[..., self.rows] += self.low_inputs(x)
        return self.steps(a, h0, c0)


def _columns(weight: Tensor) -> Tensor:
    """c above, [K]; 1 where all weights are 0."""
    largest = weight.abs().amax(0)
    return torch.where(largest > 0, torch.exp2(largest.log2().floor().clamp(-126, 126)), torch.ones_like(largest))


def _product(codes: Tensor, scale: Tensor, bias: Tensor | None) -> WeightOnlyLinear:
    constants = {"weight": codes, "scale": scale[:, None].contiguous(), "bias": bias, "output": FloatOutput()}
    return WeightOnlyLinear(constants)
