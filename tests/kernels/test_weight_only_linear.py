"""fxquant::weight_only_linear is near the plain-torch op, which rounds once, and gives the same bits on every ISA."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.linear import weight_only_linear
from fxquant.qparams import FloatOutput

SHAPES = [
    ((1,), 20, 10, 1),
    ((5,), 1, 1, 1),
    ((2, 7), 48, 47, 6),
    ((96,), 256, 64, 2),
    ((), 16, 32, 4),
    ((0,), 4, 3, 1),
]
UNBOUNDED = FloatOutput()


def constants(outputs: int, inputs: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.randint(-128, 128, (outputs, inputs), dtype=torch.int8)
    return weight, torch.rand(outputs, groups) * 0.01, torch.randn(outputs)


def in_order(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """The formula of the kernel: float64 holds x * w, and what a fused multiply-add makes of it is rounded to odd."""
    total, size = bias.expand(*x.shape[:-1], len(weight)), weight.shape[1] // scale.shape[1]
    for g in range(scale.shape[1]):
        part = torch.zeros(*x.shape[:-1], len(weight))
        for k in range(g * size, (g + 1) * size):
            part = fused(x[..., k : k + 1], weight[:, k].float(), part)
        total = fused(part, scale[:, g], total)
    return total


def fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a * b + c, rounded once to float32 (Boldo and Melquiond 2008: round to odd, then to nearest)."""
    product, other = torch.broadcast_tensors(a.double() * b.double(), c.double())
    s = product + other
    back = s - product
    error = (product - (s - back)) + (other - back)
    bits = s.view(torch.int64)
    towards_zero = (error != 0) & ((error > 0) != (s > 0))
    odd = torch.where(error != 0, (bits - towards_zero.long()) | 1, bits)
    return odd.view(torch.float64).float()


@pytest.mark.parametrize(("leading", "inputs", "outputs", "groups"), SHAPES)
@pytest.mark.parametrize("output", [UNBOUNDED, FloatOutput(-1.0, 1.5)])
def test_equals_its_formula_and_is_near_the_op(
    leading: tuple[int, ...], inputs: int, outputs: int, groups: int, output: FloatOutput, isa: str, threads: int
) -> None:
    weight, scale, bias = constants(outputs, inputs, groups)
    x = torch.randn(*leading, inputs)
    y = kernels.weight_only_linear(x, kernels.pack_weight_only(weight, scale, bias, output), outputs)
    assert torch.equal(y, in_order(x, weight, scale, bias).clamp(output.low, output.high))
    magnitudes = x.abs() @ (weight.float().abs() * scale.repeat_interleave(inputs // groups, 1)).t() + bias.abs()
    near = weight_only_linear(x, weight, scale, bias, output)
    assert ((y - near).abs() <= (inputs + 2) * 2**-24 * magnitudes).all()


def test_strided_rows_and_bfloat16() -> None:
    weight, scale, bias = constants(12, 33, 3)
    packed = kernels.pack_weight_only(weight, scale, bias, UNBOUNDED)
    x = torch.randn(33, 9).t()
    assert torch.equal(kernels.weight_only_linear(x, packed, 12), in_order(x, weight, scale, bias))
    half = x.bfloat16()
    expected = in_order(half.float(), weight, scale, bias).bfloat16()
    assert torch.equal(kernels.weight_only_linear(half, packed, 12), expected)


def test_refusals() -> None:
    weight, scale, bias = constants(3, 8, 2)
    packed = kernels.pack_weight_only(weight, scale, bias, UNBOUNDED)
    wrong: list[tuple[Any, int, str]] = [
        (torch.zeros(2, 8, dtype=torch.uint8), 3, "float32 or bfloat16 tensor"),
        (torch.zeros(2, 9), 3, "another in_features"),
        (torch.zeros(2, 8), 4, "another out_features"),
    ]
    for x, outputs, message in wrong:
        with pytest.raises(InputError, match=message):
            kernels.weight_only_linear(x, packed, outputs)
    with pytest.raises(InputError, match="no packed weights"):
        kernels.weight_only_linear(torch.zeros(2, 8), packed[64:].clone(), 3)
    for bad in ((weight.float(), scale, bias), (weight, scale[:2], bias), (weight, torch.ones(3, 3), bias)):
        with pytest.raises(InputError, match="weights are int8"):
            kernels.pack_weight_only(*bad, UNBOUNDED)


def test_fake_agrees() -> None:
    packed = kernels.pack_weight_only(*constants(3, 8, 2), UNBOUNDED)
    checks = ("test_schema", "test_faketensor")
    op: Any = kernels.weight_only_linear
    torch.library.opcheck(op, (torch.randn(2, 8), packed, 3), test_utils=checks)
