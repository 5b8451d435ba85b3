"""Few values show less of a range than many: what lies beyond it must cost less than a finer grid would gain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fxquant.observer import HistogramObserver, MinMaxObserver, MovingAverageMinMaxObserver
from fxquant.observer.headroom import MOST, room_for
from fxquant.qparams import QParams, dequantize, quantize

KINDS = [HistogramObserver, MinMaxObserver, MovingAverageMinMaxObserver]


def error(q: QParams, x: Tensor) -> float:
    return float((dequantize(quantize(x, q), q) - x).norm() / x.norm())


def observed(kind: Any, x: Tensor, **arguments: Any) -> Any:
    observer = kind(**arguments)
    observer(x)
    return observer


def test_there_is_the_less_headroom_the_more_was_seen() -> None:
    rooms = [room_for(count) for count in (*range(1, 700), *(10**power for power in range(3, 11)))]
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[0] == room_for(4) == MOST
    assert room_for(5) == room_for(576) == pytest.approx(4 / 3, rel=0.01)
    assert rooms[-1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [25, 100, 1000])
def test_data_to_come_is_closer_to_float(kind: Any, count: int) -> None:
    squares = {True: 0.0, False: 0.0}
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        seen, to_come = torch.randn(count, generator=generator), torch.randn(1000, generator=generator)
        for headroom in squares:
            squares[headroom] += error(observed(kind, seen, headroom=headroom).qparams(), to_come) ** 2
    assert squares[True] < 0.7 * squares[False]


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_value_stays_on_the_grid(kind: Any) -> None:
    x = torch.linspace(0, 3, 40)
    q = observed(kind, x, headroom=True).qparams()
    assert float(dequantize(quantize(x[-1:], q), q)) == pytest.approx(3, rel=1e-6)
    assert int(quantize(torch.tensor([1e9]), q)) == 255
    assert q.scale * 255 == pytest.approx(3 * room_for(40), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_how_much_was_seen_is_saved_and_forgotten(kind: Any) -> None:
    seen, new = observed(kind, torch.randn(7, 9), headroom=True), kind(headroom=True)
    seen(torch.zeros(5))
    new.load_state_dict(seen.state_dict())
    assert new.values_seen == seen.values_seen == 68
    assert new.qparams() == seen.qparams()
    seen.reset_min_max_vals()
    assert seen.values_seen == 0
