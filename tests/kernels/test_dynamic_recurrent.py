"""fxquant::dynamic_recurrent equals the plain-torch dynamic_recurrent_states bit for bit, on every ISA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.recurrent import (
    candidate_rows,
    dynamic_recurrent_states,
    dynamic_two_byte_recurrent_states,
)
from fxquant.ops.recurrent import GATES
from fxquant.qparams import Dynamic


def constants(kind: str, inputs: int, hidden: int) -> list[Tensor]:
    rows = GATES[kind] * hidden
    weights = [torch.randint(-128, 128, (rows, depth), dtype=torch.int8) for depth in (inputs, hidden)]
    biases, multipliers = ([torch.rand(rows) * size for _ in range(2)] for size in (1.0, 0.003))
    return [*weights, *biases, *multipliers]


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden"), [(1, 1, 3, 5), (6, 3, 17, 33), (3, 9, 40, 16)])
def test_equals_the_reference(
    kind: str, reverse: bool, steps: int, batch: int, inputs: int, hidden: int, isa: str, threads: int
) -> None:
    given, dynamic = constants(kind, inputs, hidden), Dynamic(True, 2, 240)
    packed = kernels.pack_recurrent(kind, *given, dynamic=True)
    x = torch.randn(batch, steps, inputs).transpose(0, 1)
    for h0, c0 in ((None, None), (torch.randn(batch, hidden), torch.randn(batch, hidden))):
        y, last = kernels.dynamic_recurrent(x, packed, h0, c0, hidden, reverse, 2, 240)
        expected, expected_last = dynamic_recurrent_states(x, *given, kind, reverse, dynamic, h0, c0)
        assert torch.equal(y, expected)
        assert torch.equal(last, expected_last)


def two_bytes(kind: str, depth: int, hidden: int) -> tuple[Tensor, Tensor]:
    """Weights [G * H, depth], those of candidates high bytes, and the low ones [H, depth]."""
    weight = torch.randint(-32512, 32513, (GATES[kind] * hidden, depth))
    candidates = candidate_rows(kind, weight)
    wide = weight[candidates].to(torch.int16)
    high, low = kernels.bytes_of(wide)
    assert torch.equal(256 * high.int() + low.int(), wide.int())
    weight = (weight // 256).to(torch.int8)
    weight[candidates] = high
    return weight, low


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden"), [(1, 1, 3, 5), (6, 3, 17, 33), (3, 9, 40, 16)])
def test_weights_of_two_bytes(
    kind: str, steps: int, batch: int, inputs: int, hidden: int, isa: str, threads: int
) -> None:
    rows = GATES[kind] * hidden
    (weight_ih, low_ih), (weight_hh, low_hh) = (two_bytes(kind, depth, hidden) for depth in (inputs, hidden))
    vectors = [torch.randn(rows), torch.randn(rows), torch.rand(rows) * 1e-5, torch.rand(rows) * 1e-5]
    packed = kernels.pack_recurrent(kind, weight_ih, weight_hh, *vectors, low=(low_ih, low_hh), dynamic=True)
    x = torch.randn(steps, batch, inputs) * torch.logspace(0, -3, inputs)
    x[0, 0] = 0.0
    h0, c0 = torch.randn(batch, hidden), torch.randn(batch, hidden)
    weights = (weight_ih, low_ih, weight_hh, low_hh)
    for dynamic in (Dynamic(), Dynamic(True, 2, 240)):
        y, last = kernels.dynamic_recurrent(x, packed, h0, c0, hidden, True, dynamic.quant_min, dynamic.quant_max)
        settings = (*vectors, kind, True, dynamic, h0, c0)
        expected = dynamic_two_byte_recurrent_states(x, torch.ones(inputs), *weights, *settings)
        assert torch.equal(y, expected[0])
        assert torch.equal(last, expected[1])


def test_two_bytes_of_inputs_are_nearly_exact() -> None:
    """In the candidate gate, which a tanh RNN has alone, errors are those of 16 bits."""
    weight, low = two_bytes("rnn_tanh", 40, 8)
    x, multiplier, none = torch.rand(5, 1, 40), torch.full((8,), 2e-7), torch.zeros(8, dtype=torch.float32)
    states = (torch.zeros(8, 8, dtype=torch.int8), torch.zeros(8, 8, dtype=torch.int8))
    packed = kernels.pack_recurrent(
        *("rnn_tanh", weight, states[0], none, none, multiplier, multiplier), low=(low, states[1]), dynamic=True
    )
    y, _ = kernels.dynamic_recurrent(x, packed, None, None, 8, False, 0, 255)
    real = (256 * weight.double() + low) * 2e-7
    assert torch.allclose(y.double(), torch.tanh(x.double() @ real.t()), atol=3e-5)


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"at most 32512, not torch\.int16 of up to 32513"):
        kernels.bytes_of(torch.tensor([[32513]], dtype=torch.int16))
    given = constants("lstm", 3, 4)
    low = (torch.zeros(4, 3, dtype=torch.int8), torch.zeros(4, 4, dtype=torch.int8))
    with pytest.raises(InputError, match="static recurrences have weights of one byte"):
        kernels.pack_recurrent("lstm", *given, low=low)
    with pytest.raises(InputError, match=r"low bytes of a candidate gate are int8 \[4, 3\], not torch\.int8 \[4, 4\]"):
        kernels.pack_recurrent("lstm", *given, low=low[::-1], dynamic=True)
    packed, static = (kernels.pack_recurrent("lstm", *given, dynamic=dynamic) for dynamic in (True, False))
    x = torch.zeros(2, 1, 3)
    with pytest.raises(InputError, match="takes float32"):
        kernels.dynamic_recurrent(x.to(torch.uint8), packed, None, None, 4, False, 0, 255)
    with pytest.raises(InputError, match="packed for another layer"):
        kernels.dynamic_recurrent(x, static, None, None, 4, False, 0, 255)
    with pytest.raises(InputError, match="packed for another layer"):
        kernels.recurrent(x.to(torch.uint8), packed, None, None, 4, False, 0.1, 0, 0, 255)
