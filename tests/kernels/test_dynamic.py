"""fxquant::dynamic_linear equals the plain-torch dynamic_linear bit for bit, on every ISA and thread count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.linear import dynamic_linear
from fxquant.qparams import Dynamic, FloatOutput, dynamic_quantize

SHAPES = [
    ((1,), 20, 10),
    ((5,), 1, 1),
    ((2, 7), 33, 47),
    ((96,), 256, 64),
    ((450,), 30, 100),
    ((), 16, 32),
    ((0,), 4, 3),
]
BOUNDED, BY_ROW = FloatOutput(-1.0, 1.5), Dynamic()


def both(x: Tensor, outputs: int, dynamic: Dynamic = BY_ROW, output: FloatOutput = BOUNDED) -> tuple[Tensor, Tensor]:
    weight = torch.randint(-128, 128, (outputs, x.shape[-1]), dtype=torch.int8)
    multiplier, bias = torch.rand(outputs) * 0.01, torch.randn(outputs)
    packed = kernels.pack_dynamic_linear(weight, multiplier, bias, output)
    return kernels.dynamic_linear(x, packed, outputs, *dynamic), dynamic_linear(
        x, weight, multiplier, bias, dynamic, output
    )


@pytest.mark.parametrize(("leading", "inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("dynamic", [Dynamic(), Dynamic(by_row=False), Dynamic(True, 3, 130)])
def test_equals_the_reference(
    leading: tuple[int, ...], inputs: int, outputs: int, dynamic: Dynamic, isa: str, threads: int
) -> None:
    if leading == (0,) and not dynamic.by_row:
        leading = (2,)  # of nothing there is no range
    y, expected = both(torch.randn(*leading, inputs), outputs, dynamic)
    assert torch.equal(y, expected)


@pytest.mark.parametrize(("leading", "inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("dynamic", [Dynamic(), Dynamic(by_row=False)])
def test_biases_in_integers(
    leading: tuple[int, ...], inputs: int, outputs: int, dynamic: Dynamic, isa: str, threads: int
) -> None:
    leading = (2,) if leading == (0,) else leading
    x, weight = torch.randn(*leading, inputs), torch.randint(-128, 128, (outputs, inputs), dtype=torch.int8)
    multiplier, bias = torch.rand(outputs) * 0.01, torch.randn(outputs) * 10.0 ** torch.randint(-9, 9, (outputs,))
    multiplier[0] = 0.0
    x.reshape(-1, inputs)[:1] = 0.0
    packed = kernels.pack_dynamic_linear(weight, multiplier, torch.zeros(outputs), FloatOutput())
    whole = kernels.pack_integer_bias(bias, multiplier, BOUNDED)
    expected = dynamic_linear(x, weight, multiplier, bias, dynamic, BOUNDED, integer_bias=True)
    assert torch.equal(kernels.dynamic_linear(x, packed, outputs, *dynamic, whole), expected)
    with pytest.raises(InputError, match="another out_features"):
        kernels.dynamic_linear(x, packed, outputs, *dynamic, whole[1:])


def test_strided_rows() -> None:
    y, expected = both(torch.randn(33, 9).t(), 12)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_row_that_holds_no_numbers_gives_nan_and_others_do_not(odd: float, isa: str) -> None:
    x = torch.randn(4, 40)
    x[1, 39] = odd
    y, expected = both(x, 8, output=FloatOutput())
    assert torch.equal(y.isnan(), torch.tensor([False, True, False, False])[:, None].expand(4, 8))
    assert torch.equal(y[[0, 2, 3]], expected[[0, 2, 3]])


def test_codes_are_those_of_torch() -> None:
    """torch.quantize_per_tensor_dynamic has the same formula, but for scales below 6.1e-5."""
    if not hasattr(torch, "quantize_per_tensor_dynamic"):
        pytest.skip("this torch has no quantized tensors")
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-7.0, -1.0)):
        x = torch.rand(1000) * (high - low) + low
        theirs: Any = torch.quantize_per_tensor_dynamic(x, torch.quint8, False)
        codes, scale, zero_point = dynamic_quantize(x, Dynamic())
        assert (float(scale), int(zero_point)) == (torch.tensor(theirs.q_scale()).float(), theirs.q_zero_point())
        assert torch.equal(codes, theirs.int_repr())


def test_refusals() -> None:
    packed = kernels.pack_dynamic_linear(torch.ones(3, 8, dtype=torch.int8), torch.ones(3), torch.zeros(3), BOUNDED)
    wrong: list[tuple[Any, Any, str]] = [
        (torch.zeros(2, 8, dtype=torch.uint8), 3, "float32 tensor"),
        (torch.zeros(2, 9), 3, "another in_features"),
        (torch.zeros(2, 8), 4, "another out_features"),
        (torch.zeros(2, 8), 4, "another out_features"),
    ]
    for x, outputs, message in wrong:
        with pytest.raises(InputError, match=message):
            kernels.dynamic_linear(x, packed, outputs, *Dynamic())
    with pytest.raises(InputError, match="another layer type"):
        kernels.linear(torch.zeros(2, 8, dtype=torch.uint8), packed, None, 3, True)
    with pytest.raises(InputError, match="must be \\[out_features, in_features\\]"):
        kernels.pack_dynamic_linear(torch.ones(3, dtype=torch.int8), torch.ones(3), torch.zeros(3), BOUNDED)
    wide = torch.full((1, 70000), 127, dtype=torch.int8)
    with pytest.raises(InputError, match="output channel 0 could overflow"):
        kernels.pack_dynamic_linear(wide, torch.ones(1), torch.zeros(1), BOUNDED)
