"""Percentile, entropy, MSE and p-norm observers: each finds what its formula says, in bounded memory."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import QConfig, QConfigMapping, calibrate, convert_fx, get_default_qconfig, prepare_fx
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import ConfigError
from fxquant.observer import (
    EntropyObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MSEObserver,
    PercentileObserver,
    PerChannelMinMaxObserver,
    PNormObserver,
)
from fxquant.observer.entropy import divergences
from fxquant.qparams import QParams, dequantize, quantize

CLIPPING = [HistogramObserver, PercentileObserver, EntropyObserver, MSEObserver, PNormObserver]


def seen(observer: Any, *batches: Tensor) -> Any:
    for batch in batches:
        observer(batch)
    return observer


def covered(q: QParams) -> tuple[float, float]:
    return (q.quant_min - q.zero_point) * q.scale, (q.quant_max - q.zero_point) * q.scale


def error(x: Tensor, q: QParams, p: float) -> float:
    return float(((dequantize(quantize(x, q), q) - x).abs().double() ** p).mean())


DATA: dict[str, Callable[[], Tensor]] = {
    "normal": lambda: torch.randn(50_000),
    "laplace": lambda: torch.randn(50_000).sign() * torch.empty(50_000).exponential_(),
    "relu": lambda: torch.randn(50_000).relu(),
    "negative": lambda: -torch.rand(50_000),
    "outliers": lambda: torch.cat((torch.randn(50_000), torch.tensor([40.0, -60.0]))),
    "few values": lambda: torch.randint(0, 5, (50_000,)).float(),
    "tiny": lambda: torch.randn(50_000) * 1e-30,
    "huge": lambda: torch.randn(50_000) * 1e30,
}


@pytest.mark.parametrize("kind", CLIPPING)
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
def test_any_data_gives_a_range_within_what_was_seen(kind: Any, name: str, scheme: str) -> None:
    x = DATA[name]()
    dtype = torch.uint8 if scheme == "affine" else torch.int8
    arguments = {"dtype": dtype, "qscheme": f"per_tensor_{scheme}", "eps": 2**-120}
    q = seen(kind(**arguments), *x.split(9_000)).qparams()
    widest = seen(MinMaxObserver(**arguments), x).qparams()
    assert 0 < q.scale <= widest.scale * 1.001
    assert q.scale > widest.scale / 100
    assert sqnr_db(x / widest.scale, dequantize(quantize(x, q), q) / widest.scale) > (0 if name == "outliers" else 20)


@pytest.mark.parametrize("kind", CLIPPING)
def test_zeros_alone_and_constants(kind: Any) -> None:
    assert seen(kind(), torch.zeros(9)).qparams() == seen(MinMaxObserver(), torch.zeros(9)).qparams()
    for value in (3.0, -5.0):
        q = seen(kind(), torch.full((1000,), value)).qparams()
        assert float(dequantize(quantize(torch.tensor(value), q), q)) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("kind", CLIPPING)
def test_order_and_batches_do_not_matter(kind: Any) -> None:
    x = torch.randn(30_000) * torch.linspace(0.001, 5, 30_000)
    expected = seen(kind(), x)
    for batches in (x.flip(0).split(500), x.split(7_777), [x[20_000:], x[:20_000]]):
        other = seen(kind(), *batches)
        for name, statistics in expected.state_dict().items():
            assert torch.equal(statistics, other.state_dict()[name]), name


@pytest.mark.parametrize("kind", CLIPPING)
def test_copies_keep_the_statistics(kind: Any) -> None:
    observer, restored = seen(kind(), torch.randn(1000)), kind()
    restored.load_state_dict(observer.state_dict())
    for other in (restored, copy.deepcopy(observer), pickle.loads(pickle.dumps(observer))):
        assert other.qparams() == observer.qparams()
    observer.reset_min_max_vals()
    assert not observer.observed


# Percentile


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_are_those_of_the_values(percentile: float) -> None:
    x = torch.cat((torch.randn(200_000), torch.zeros(200_000)))
    observer = seen(PercentileObserver(percentile=percentile), x)
    low, high = observer.learned_range()
    share = 1 - percentile / 100
    assert torch.quantile(x[:: len(x) // 100_000], share) == pytest.approx(float(low), rel=0.15)
    assert int((x > high).sum()) <= share * len(x)
    assert int((x < low).sum()) <= share * len(x)
    assert int((x > high - observer.width).sum()) > share * len(x)


def test_all_percents_are_the_whole_range() -> None:
    x = torch.randn(1000)
    assert seen(PercentileObserver(percentile=100), x).qparams() == seen(MinMaxObserver(), x).qparams()


@pytest.mark.parametrize("percentile", [50, 100.1, -1, float("nan")])
def test_impossible_percentiles_are_refused(percentile: float) -> None:
    with pytest.raises(ConfigError, match="percentile must be above 50"):
        PercentileObserver(percentile=percentile)


# Entropy


def divergence(counts: Tensor, threshold: int, levels: int) -> float:
    """KL(P || Q) by the definition, loop by loop."""
    p = counts[:threshold].double().clone()
    p[-1] += counts[threshold:].sum()
    q = torch.zeros(threshold, dtype=torch.float64)
    for level in range(levels):
        group = range(level * threshold // levels, (level + 1) * threshold // levels)
        filled = [i for i in group if counts[i] > 0]
        for i in filled:
            q[i] = sum(float(counts[j]) for j in group) / len(filled)
    p, q = p / p.sum(), q / q.sum()
    there = p > 0
    return float((p[there] * (p[there] / q[there]).log()).sum())


@pytest.mark.parametrize("seed", range(5))
def test_divergences_are_those_of_the_definition(seed: int) -> None:
    torch.manual_seed(seed)
    counts = torch.randint(0, 50, (40,)) * (torch.rand(40) > 0.2)
    expected = [divergence(counts, threshold, 8) for threshold in range(8, 41)]
    torch.testing.assert_close(divergences(counts, 8), torch.tensor(expected, dtype=torch.float64))


def test_entropy_cuts_outliers_and_keeps_a_plain_range() -> None:
    even = torch.linspace(0, 1, 100_000)
    assert covered(seen(EntropyObserver(), even).qparams())[1] == pytest.approx(1, rel=0.01)
    with_outlier = torch.cat((torch.randn(100_000), torch.tensor([50.0])))
    low, high = covered(seen(EntropyObserver(), with_outlier).qparams())
    assert 2 < high < 10
    assert 2 < -low < 10


# MSE and p-norm


@pytest.mark.parametrize("name", ["normal", "laplace", "relu", "outliers"])
@pytest.mark.parametrize(("make", "p"), [(MSEObserver, 2.0), (PNormObserver, 2.4), (lambda: PNormObserver(p=4.0), 4.0)])
def test_no_range_of_a_grid_has_a_smaller_error(name: str, make: Callable[[], Any], p: float) -> None:
    x = DATA[name]()
    found = error(x, seen(make(), x).qparams(), p)
    low, high = float(x.min()), float(x.max())
    cuts = [0.05, 0.1, 0.15, *torch.linspace(0.2, 1, 9).tolist()]
    ranges = [torch.tensor([low * a, high * b]) for a in cuts for b in cuts]
    assert found <= 1.03 * min(error(x, seen(MinMaxObserver(), r).qparams(), p) for r in ranges)


def test_a_larger_p_cuts_less() -> None:
    x = torch.randn(100_000)
    widths = [float(seen(PNormObserver(p=p), x).qparams().scale) for p in (1.0, 2.0, 4.0, 8.0)]
    assert widths == sorted(widths)


def test_p_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="p must be above 0"):
        PNormObserver(p=0.0)


# All of them


@pytest.mark.parametrize("kind", CLIPPING)
def test_models_are_quantized_with_it(kind: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    x = torch.randn(8, 3, 12, 12)
    mapping = QConfigMapping().set_global(QConfig(kind, get_default_qconfig().weight))
    quantized = convert_fx(calibrate(prepare_fx(model, mapping, (x,)), x.split(4), progress=False))
    assert sqnr_db(model(x), quantized(x)) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [*CLIPPING, MinMaxObserver, MovingAverageMinMaxObserver, lambda: PerChannelMinMaxObserver(ch_axis=1)]
)
def test_memory_does_not_grow_with_the_data(kind: Any) -> None:
    """pytorch/pytorch#45970 and #129387: calibration that runs out of memory."""
    observer = kind()

    def held() -> int:
        gc.collect()
        return len(pickle.dumps(observer))

    seen(observer, torch.randn(4, 8))
    first = held()
    for k in range(30):
        batch = torch.randn(1000, 8) * 2**k
        gone = weakref.ref(batch)
        observer(batch)
        del batch
        assert gone() is None
    assert held() <= first + 64
    assert first < 400_000
