"""The formulas of fxquant.analysis.measures, against the definitions on whole tensors."""

from __future__ import annotations

import math

import pytest
import torch

from fxquant.analysis.measures import Error, cosine_similarity, normalized_l2_error, outside, sqnr_db

R = torch.linspace(-3, 5, 1000).sin() * 7
V = R + 0.01 * torch.linspace(0, 40, 1000).cos()


def test_sums_over_batches_are_those_of_all_at_once() -> None:
    parts, whole = Error(), Error()
    whole.add(R, V, 3)
    parts.add(R[:300], V[:300], 1)
    parts.add(R[300:], V[300:], 2)
    for name in ("sqnr_db", "cosine", "l2", "peak", "saturated", "max_error"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-5)


def test_numbers_are_as_defined() -> None:
    error = Error()
    error.add(R, V, 250)
    r, v = R.double(), V.double()
    assert error.sqnr_db == pytest.approx(20 * math.log10(r.norm() / (r - v).norm()), abs=1e-4)
    assert error.cosine == pytest.approx(torch.nn.functional.cosine_similarity(r, v, dim=0).item(), abs=1e-7)
    assert error.l2 == pytest.approx(((r - v).norm() / r.norm()).item(), rel=1e-5)
    assert error.max_error == pytest.approx((R - V).abs().max().item())
    assert error.peak == pytest.approx((R.abs().max() / R.square().mean().sqrt()).item(), rel=1e-5)
    assert error.saturated == 0.25
    assert (sqnr_db(R, V), cosine_similarity(R, V)) == (error.sqnr_db, error.cosine)
    assert normalized_l2_error(R, V) == error.l2


def test_nothing_but_zeros_and_no_error() -> None:
    zeros = torch.zeros(4)
    assert (sqnr_db(zeros, zeros), cosine_similarity(zeros, zeros)) == (math.inf, 1.0)
    assert (sqnr_db(zeros, zeros + 1), cosine_similarity(zeros, zeros + 1)) == (-math.inf, 0.0)
    assert normalized_l2_error(zeros, zeros + 1) == math.inf
    assert sqnr_db(torch.empty(0), torch.empty(0)) == math.inf


def test_the_infinities_of_a_mask_are_no_error_and_its_lowest_number_does_not_overflow() -> None:
    mask = torch.tensor([-math.inf, 1.0, 2.0])
    assert sqnr_db(mask, torch.tensor([-math.inf, 1.0, 2.1])) == pytest.approx(10 * math.log10(5 / 0.01), abs=1e-3)
    lowest = torch.tensor([torch.finfo(torch.float32).min, 1.0])
    assert sqnr_db(lowest, lowest) == math.inf
    assert math.isfinite(sqnr_db(lowest, lowest * 0.5))


@pytest.mark.parametrize(("value", "beyond"), [(-1.04, 0), (-1.06, 1), (24.54, 0), (24.56, 1)])
def test_half_a_step_beyond_the_codes_saturates(value: float, beyond: int) -> None:
    assert outside(torch.tensor([0.0, value]), 0.1, 10, 0, 255) == beyond
    assert outside(torch.tensor([0.0, value]), torch.tensor([0.1]), 10, 0, 255) == beyond
