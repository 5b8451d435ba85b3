"""Row bands change the order of the work and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import Written
from random_models import INPUT, RandomModel
from regions import assert_planned_right, plan_of, quantized
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.runtime import bands, planner
from fxquant.runtime.call import NOTHING, Call, Window, fetching_ahead

X = torch.randn(1, 3, 23, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chain is cut into bands of the fewest rows."""
    monkeypatch.setattr(bands, "WORTHWHILE_SHARE", 0)
    monkeypatch.setattr(bands, "BAND_SHARE", 1e-9)
    monkeypatch.setattr(bands, "WEIGHTS_SHARE", 1e9)


def bottleneck(stride: int = 1, kernel: int = 3, groups: int = 24) -> Callable[[Any, Tensor], Tensor]:
    def code(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.stem(x))
        z = m.project(F.relu6(m.middle(F.relu6(m.expand(y)))))
        return z + y if stride == 1 else z

    code.modules = {  # type: ignore[attr-defined]
        "stem": nn.Conv2d(3, 8, 3, padding=1),
        "expand": nn.Conv2d(8, 24, 1),
        "middle": nn.Conv2d(24, 24, kernel, stride, kernel // 2, groups=groups),
        "project": nn.Conv2d(24, 8, 1),
    }
    return code


def written(code: Any) -> Written:
    return Written(code, **code.modules)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "code",
    [bottleneck(), bottleneck(2), bottleneck(kernel=5), bottleneck(2, 5), bottleneck(groups=1), bottleneck(2, 3, 1)],
)
def test_the_integers_stay_as_they_are(code: Any) -> None:
    model = quantized(written(code), X)
    assert_planned_right(model, X, torch.randn(2, 3, 8, 30), torch.randn(3, 3, 5, 4))


@pytest.mark.usefixtures("eager")
def test_each_row_is_computed_once_and_after_what_it_reads() -> None:
    plan = plan_of(quantized(written(bottleneck(2)), X), X)
    done: dict[str, int] = defaultdict(int)
    parts: dict[str, int] = defaultdict(int)
    for call in plan.calls:
        if call.kernel not in ("conv2d", "depthwise_conv2d"):
            continue
        assert call.rows is not None
        assert call.rows[0] == done[call.node.name]
        for source in call.node.all_input_nodes:
            if source.name in done and call.window is not None:
                height = 23
                assert done[source.name] >= min(height, call.window.end(call.rows[1]))
        done[call.node.name] = call.rows[1]
        parts[call.node.name] += 1
    assert done["middle"] == done["project"] == 12
    assert done["expand"] == 23
    assert min(parts[name] for name in ("expand", "middle", "project")) >= 3


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("seed", range(20))
def test_random_models_in_bands(seed: int) -> None:
    model = quantized(RandomModel(seed), torch.randn(INPUT))
    assert_planned_right(model, torch.randn(INPUT))


def test_small_tensors_are_left_alone() -> None:
    plan = plan_of(quantized(written(bottleneck()), X), X)
    assert [call.rows for call in plan.calls if call.rows is not None] == [(0, 23)] * 4


def test_heavy_weights_end_a_chain(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    monkeypatch.setattr(bands, "WEIGHTS_SHARE", 0)
    plan = plan_of(quantized(written(bottleneck()), X), X)
    assert [call.rows for call in plan.calls if call.rows is not None] == [(0, 23)] * 4


@pytest.mark.parametrize(
    ("window", "rows", "inputs"),
    [
        (Window(), 5, 5),
        (Window(3, 1, 1), 5, 6),
        (Window(3, 2, 1), 5, 10),
        (Window(5, 1, 0), 5, 9),
        (Window(1, 2, 0), 5, 9),
    ],
)
def test_how_far_a_window_reaches(window: Window, rows: int, inputs: int) -> None:
    assert window.end(rows) == inputs


def test_each_product_fetches_the_weights_of_the_next() -> None:
    def call(kernel: str, packed: tuple[int, int] | None, ahead: tuple[int, int] | None) -> Call:
        return Call(None, kernel, (), (), packed=packed, ahead=ahead)  # type: ignore[arg-type]

    calls = [
        call("conv2d", (64, 100), NOTHING),
        call("depthwise_conv2d", (128, 50), None),
        call("conv2d", (256, 9000), NOTHING),
        call("lookup", None, None),
        call("linear", (512, 10), NOTHING),
    ]
    assert [c.ahead for c in fetching_ahead(calls, 1000)] == [(256, 1000), None, (512, 10), None, NOTHING]
    assert planner.fetching_ahead is fetching_ahead
