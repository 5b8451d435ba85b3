from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fxquant.passes.observe_activations import observe_activations
from graphs import Written, annotated, calls
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import QConfig, QConfigMapping, get_default_qat_qconfig_mapping, get_default_qconfig, ops
from fxquant.observer import FixedQParamsObserver, HistogramObserver, MinMaxObserver, MovingAverageMinMaxObserver

MOVING = QConfigMapping().set_global(QConfig(MovingAverageMinMaxObserver, get_default_qconfig().weight))
IMAGE = torch.randn(2, 4, 6, 6)


def observed(code: Callable[..., Tensor], mapping: QConfigMapping | None = None) -> tuple[GraphModule, Written]:
    model = Written(code, a=nn.Conv2d(4, 4, 1), b=nn.Conv2d(4, 4, 1))
    return observe_activations(annotated(model, IMAGE, "annotate_groups", mapping)), model


def test_every_watched_value_goes_through_its_observer() -> None:
    gm, model = observed(lambda m, x: F.relu(m.a(x)))
    assert calls(gm) == ["activation_post_process_0", ops.conv2d, ops.relu, "activation_post_process_1"]
    result = gm(IMAGE)
    torch.testing.assert_close(result, model(IMAGE))
    first, second = (getattr(gm, f"activation_post_process_{i}") for i in range(2))
    assert (first.min_val, first.max_val) == (IMAGE.min(), IMAGE.max())
    assert (second.min_val, second.max_val) == (result.min(), result.max())
    assert (first.where, second.where.split(", ")[0]) == ("x", "the root module (F.relu")


def test_one_observer_watches_all_values_of_a_group() -> None:
    gm, _ = observed(lambda m, x: torch.cat([m.a(x), 9 * m.b(x)], 1))
    assert calls(gm).count("activation_post_process_1") == 2
    members = [n.name for n in gm.graph.nodes if n.meta.get("observer") == "activation_post_process_1"]
    assert members == ["conv2d", "conv2d_1", "cat"]
    x = gm(IMAGE)
    observer = gm.activation_post_process_1
    assert (observer.min_val, observer.max_val) == (x.min(), x.max())


@pytest.mark.parametrize("mapping", [get_default_qat_qconfig_mapping(), MOVING])
def test_a_moving_average_of_a_group_cuts_off_none_of_its_values(mapping: QConfigMapping) -> None:
    gm, model = observed(lambda m, x: torch.cat([m.a(x), 9 * m.b(x)], 1), mapping)
    gm(IMAGE)
    x = model(IMAGE).detach()
    q = gm.activation_post_process_1.qparams()
    assert abs(float(q.scale) * 255 - float(x.max() - x.min())) < 2 * float(q.scale)


@pytest.mark.parametrize("mapping", [get_default_qat_qconfig_mapping(), MOVING])
def test_a_moving_average_starts_from_all_batches_of_its_span(mapping: QConfigMapping) -> None:
    gm, _ = observed(lambda m, x: m.b(m.a(x)), mapping)
    batches = [IMAGE, 3 * IMAGE, 2 * IMAGE]
    for x in batches:
        gm(x)
    q = gm.activation_post_process_0.qparams()
    assert abs(float(q.scale) * 255 - 3 * float(IMAGE.max() - IMAGE.min())) < 2 * float(q.scale)
    for _ in range(200):
        gm(IMAGE)
    q = gm.activation_post_process_0.qparams()
    assert float(q.scale) * 255 < 2 * float(IMAGE.max() - IMAGE.min())


def test_a_range_that_maths_gives_is_not_observed() -> None:
    gm, _ = observed(lambda m, x: m.b(torch.sigmoid(m.a(x))))
    kinds = [type(getattr(gm, name)) for name in calls(gm) if isinstance(name, str)]
    assert kinds == [HistogramObserver, HistogramObserver, FixedQParamsObserver, HistogramObserver]
    assert gm.activation_post_process_2.qparams()[:2] == (1 / 256, 0)


def test_a_range_that_maths_gives_yields_to_others_of_the_group() -> None:
    gm, _ = observed(lambda m, x: torch.cat([torch.sigmoid(m.a(x)), m.b(x)], 1))
    assert isinstance(gm.activation_post_process_2, HistogramObserver)


def test_the_op_that_computes_a_value_chooses_its_observer() -> None:
    narrow = QConfig(MinMaxObserver, get_default_qconfig().weight)
    mapping = QConfigMapping().set_global(get_default_qconfig()).set_module_name("a", narrow)
    gm, _ = observed(lambda m, x: m.b(m.a(x)), mapping)
    kinds = [type(getattr(gm, f"activation_post_process_{i}")) for i in range(3)]
    assert kinds == [MinMaxObserver, MinMaxObserver, HistogramObserver]


def test_a_float_graph_is_not_watched() -> None:
    gm, _ = observed(lambda m, x: m.b(m.a(x)), QConfigMapping())
    assert calls(gm) == [ops.conv2d, ops.conv2d]
