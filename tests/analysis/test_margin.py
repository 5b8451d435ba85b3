from __future__ import annotations

import math

import pytest
import torch

from fxquant.analysis.margin import decibels_on_others, examples_for, expected_on_others


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
