from __future__ import annotations

import math

import pytest
import torch

from fxquant.analysis.margin import crossed_agreement, decibels_on_others, examples_for, expected_on_others


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05, 0.2])
def test_other_examples_keep_to_it_as_often_as_said(share: float) -> None:
    """Of a known share, samples of 200 are drawn in pairs: what is expected of one holds for the other."""
    generator = torch.Generator().manual_seed(0)
    different = (torch.rand(4000, 2, 200, generator=generator) < share).sum(2)
    kept = [1 - other / 200 >= expected_on_others(1 - one / 200, 200, 0.9) for one, other in different.tolist()]
    assert 0.88 <= sum(kept) / len(kept) <= 1.0


def test_less_is_expected_where_more_differ_and_where_more_confidence_is_asked_for() -> None:
    expected = [expected_on_others(1 - d / 100, 100, 0.9) for d in range(6)]
    assert expected == sorted(expected, reverse=True)
    assert all(value < 1 - d / 100 for d, value in enumerate(expected))
    assert expected_on_others(0.97, 100, 0.99) < expected_on_others(0.97, 100, 0.5) <= 0.97
    assert expected_on_others(0.97, 100, 0) == 0.97


def test_how_many_examples_it_takes() -> None:
    number = examples_for(0.98, 0.9)
    assert number is not None
    assert expected_on_others(1.0, number, 0.9) >= 0.98 > expected_on_others(1.0, number - 10, 0.9)
    assert examples_for(1.0, 0.9) is None


def test_errors_are_held_against_other_examples() -> None:
    """Half of the examples have errors that only the other half could not bear."""
    sure, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    expected = torch.cat([sure, unsure]).repeat(100, 1)
    error = torch.tensor([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]).repeat(100, 1)
    assert bool(((expected + error).argmax(1) == expected.argmax(1)).all())
    assert crossed_agreement(expected, expected + error) == pytest.approx(0.75, abs=0.05)
    assert crossed_agreement(expected, expected) == 1.0


def test_what_is_expected_of_few_examples_holds_on_others() -> None:
    """Classes of 40 random examples, and of 40 others, with errors of a tenth: 9 of 10 times as many agree."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(500):
        expected = torch.randn(2, 40, 10, generator=generator)
        computed = expected + 0.1 * torch.randn(2, 40, 10, generator=generator)
        known, others = (computed.argmax(2) == expected.argmax(2)).double().mean(1).tolist()
        agreement = min(known, crossed_agreement(expected[0], computed[0]))
        held += others >= expected_on_others(agreement, 40, 0.9)
    assert held >= 450


def test_decibels_hold_on_nine_of_ten_others() -> None:
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(500):
        signal = torch.rand(2, 20, generator=generator, dtype=torch.float64) + 0.5
        noise = 0.01 * signal * torch.rand(2, 20, generator=generator, dtype=torch.float64).exp()
        expected = decibels_on_others(signal[0].tolist(), noise[0].tolist(), 0.9)
        held += 10 * math.log10(float(signal[1].sum() / noise[1].sum())) >= expected
    assert 430 <= held <= 470


def test_decibels_without_a_margin_are_as_measured() -> None:
    assert decibels_on_others([1.0, 3.0], [0.01, 0.03], 0.0) == pytest.approx(20.0)
    assert decibels_on_others([1.0, 3.0], [0.01, 0.03], 0.9) == pytest.approx(20.0)  # both have the same ratio
    assert decibels_on_others([1.0, 1.0], [0.0, 0.0], 0.9) == math.inf
    assert decibels_on_others([1.0], [0.1], 0.9) == -math.inf
