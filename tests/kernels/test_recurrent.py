"""fxquant::recurrent equals the plain-torch integer op, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.recurrent import int8_recurrent_states, sigmoid, tanh
from fxquant.ops.recurrent import GATES
from fxquant.qparams import Requantize, float32
from fxquant.target import active_isa

SIZES = st.sampled_from([1, 2, 3, 5, 15, 16, 17, 33, 64])
OUTPUT = Requantize(121)


@dataclass
class Case:
    """A recurrence of random weights, and what it computes."""

    kind: str
    inputs: int = 19
    hidden: int = 21
    steps: int = 6
    batch: int = 7
    reverse: bool = False
    states: bool = True
    output: Requantize = OUTPUT

    def __post_init__(self) -> None:
        rows, state = GATES[self.kind] * self.hidden, (self.batch, self.hidden)
        self.h_scale = float32(0.009)
        self.weights = [torch.randint(-127, 128, (rows, k), dtype=torch.int8) for k in (self.inputs, self.hidden)]
        self.biases = [torch.randn(rows) for _ in range(2)]
        self.multipliers = [torch.rand(rows) * 3e-4 for _ in range(2)]
        self.x = torch.randint(0, 256, (self.steps, self.batch, self.inputs), dtype=torch.uint8)
        self.h0 = torch.randint(0, 256, state, dtype=torch.uint8) if self.states else None
        self.c0 = torch.randn(state) * 3 if self.states and self.kind == "lstm" else None

    def expected(self) -> tuple[Tensor, Tensor]:
        parameters = (*self.weights, *self.biases, *self.multipliers)
        settings = (self.kind, self.reverse, 77, self.h_scale, self.output, self.h0, self.c0)
        return int8_recurrent_states(self.x, *parameters, *settings)

    def packed(self, **changes: Any) -> Tensor:
        parameters = (*self.weights, *self.biases, *self.multipliers)
        numbers = {"x_zero_point": 77, "h_zero_point": self.output.zero_point, **changes}
        return kernels.pack_recurrent(self.kind, *parameters, **numbers)

    def computed(self, packed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        packed = self.packed() if packed is None else packed
        settings = (self.hidden, self.reverse, self.h_scale, *self.output)
        return kernels.recurrent(self.x, packed, self.h0, self.c0, *settings)  # type: ignore[no-any-return]


def assert_right(case: Case) -> None:
    for found, expected in zip(case.computed(), case.expected(), strict=True):
        assert found.dtype is expected.dtype
        assert torch.equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(GATES)), SIZES, SIZES, st.integers(1, 9), st.integers(0, 13), st.booleans(), st.booleans())
def test_any_shape(kind: str, inputs: int, hidden: int, steps: int, batch: int, reverse: bool, states: bool) -> None:
    assert_right(Case(kind, inputs, hidden, steps, batch, reverse, states, Requantize(121, 3, 250)))


@pytest.mark.parametrize("kind", GATES)
def test_on_every_isa(kind: str, isa: str, threads: int) -> None:
    assert_right(Case(kind, reverse=True))
    assert_right(Case(kind, batch=1, hidden=64))


def test_a_sequence_of_more_than_one_block(threads: int) -> None:
    """Products of the inputs are made so many steps at a time that 256 KB hold them."""
    assert_right(Case("gru", inputs=4, hidden=128, steps=300, batch=3))


def test_operands_with_gaps() -> None:
    case = Case("lstm")
    dense = case.computed()
    case.x = torch.stack([case.x.movedim(1, 0), case.x.movedim(1, 0)], 2)[:, :, 1].movedim(0, 1)
    case.h0 = None if case.h0 is None else case.h0.T.contiguous().T
    assert all(map(torch.equal, case.computed(), dense))


def test_functions_of_gates_are_as_near_as_they_say() -> None:
    v = torch.linspace(-45, 45, 200_001)
    assert (sigmoid(v) - torch.sigmoid(v.double())).abs().max() < 2e-7
    assert (tanh(v) - torch.tanh(v.double())).abs().max() < 3e-7
    assert tanh(torch.zeros(1)).item() == 0
    ends = torch.tensor([-torch.inf, torch.inf, torch.nan])
    assert torch.allclose(sigmoid(ends), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)
    assert torch.equal(tanh(ends)[:2], torch.tensor([-1.0, 1.0]))


def test_wrong_inputs_are_refused() -> None:
    case = Case("lstm")
    packed = case.packed()
    case.x = case.x[:, :, 1:]
    with pytest.raises(InputError, match=r"recurrence over \[6, 7, 18\]: shapes do not fit"):
        case.computed(packed)
    case = Case("lstm")
    case.h0 = case.h0[1:] if case.h0 is not None else None
    with pytest.raises(
        InputError, match=r"initial state of a batch of 7 is torch.uint8 of \[7, 21\], not .* \[6, 21\]"
    ):
        case.computed()
    case = Case("lstm")
    case.x = case.x[:0]
    with pytest.raises(InputError, match="one step at least"):
        case.computed()
    with pytest.raises(InputError, match="no packed recurrent weights"):
        Case("lstm").computed(packed[:-1])
    broken = packed.clone()
    broken[33] ^= 1
    with pytest.raises(InputError, match="no packed recurrent weights"):
        Case("lstm").computed(broken)
    case = Case("lstm")
    packed = case.packed(h_zero_point=3)
    with pytest.raises(InputError, match="another zero point"):
        case.computed(packed)


def test_wrong_weights_are_refused() -> None:
    case = Case("gru")
    with pytest.raises(InputError, match="no recurrence 'lru'"):
        kernels.pack_recurrent("lru", *case.weights, *case.biases, *case.multipliers, x_zero_point=0, h_zero_point=0)
    with pytest.raises(InputError, match="an lstm of 21 units has weights of 84 rows, not 63"):
        kernels.pack_recurrent("lstm", *case.weights, *case.biases, *case.multipliers, x_zero_point=0, h_zero_point=0)
    case.biases[0] = case.biases[0][:-1]
    with pytest.raises(InputError, match=r"float32 CPU tensors of \[63\], not torch.float32 of \[62\]"):
        case.packed()


def test_weights_of_another_isa_are_refused(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("lstm")
    packed = case.packed()
    if isa == "scalar":
        pytest.skip("it is the other one")
    monkeypatch.setenv("FXQUANT_ISA", "scalar")
    active_isa.cache_clear()
    with pytest.raises(InputError, match="packed for another instruction set"):
        case.computed(packed)
