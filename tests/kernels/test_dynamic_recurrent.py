"""fxquant::dynamic_recurrent equals the plain-torch dynamic_recurrent_states bit for bit, on every ISA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.recurrent import candidate_rows, dynamic_recurrent_states, two_byte_steps
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


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(("steps", "batch", "hidden"), [(1, 1, 5), (6, 3, 33), (3, 9, 16)])
def test_weights_of_two_bytes(kind: str, steps: int, batch: int, hidden: int, isa: str, threads: int) -> None:
    rows = GATES[kind] * hidden
    weight, bias, multiplier = torch.randint(-32512, 32513, (rows, hidden)), torch.randn(rows), torch.rand(rows) * 1e-5
    candidates = candidate_rows(kind, weight)
    wide = weight[candidates].to(torch.int16)
    high, low = kernels.bytes_of(wide)
    assert torch.equal(256 * high.int() + low.int(), wide.int())
    weight = (weight // 256).to(torch.int8)
    weight[candidates] = high
    given = (torch.empty(rows, 0, dtype=torch.int8), weight, bias, bias, multiplier, multiplier)
    packed = kernels.pack_recurrent(kind, *given, low_hh=low, dynamic=True)
    a, h0, c0 = torch.randn(steps, batch, rows + hidden), torch.randn(batch, hidden), torch.randn(batch, hidden)
    y, last = kernels.dynamic_recurrent(a, packed, h0, c0, hidden, True, 0, 255)
    found = two_byte_steps(a, weight, low, bias, multiplier, kind, True, Dynamic(), h0, c0)
    assert torch.equal(y, found[0])
    assert torch.equal(last, found[1])


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"at most 32512, not torch\.int16 of up to 32513"):
        kernels.bytes_of(torch.tensor([[32513]], dtype=torch.int16))
    given = constants("lstm", 3, 4)
    packed, static = (kernels.pack_recurrent("lstm", *given, dynamic=dynamic) for dynamic in (True, False))
    x = torch.zeros(2, 1, 3)
    with pytest.raises(InputError, match="takes float32"):
        kernels.dynamic_recurrent(x.to(torch.uint8), packed, None, None, 4, False, 0, 255)
    with pytest.raises(InputError, match="packed for another layer"):
        kernels.dynamic_recurrent(x, static, None, None, 4, False, 0, 255)
    with pytest.raises(InputError, match="packed for another layer"):
        kernels.recurrent(x.to(torch.uint8), packed, None, None, 4, False, 0.1, 0, 0, 255)
