from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fxquant.passes.convert_activations import convert_activations
from fxquant.passes.observe_activations import observe_activations
from graphs import Written, annotated, calls
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant import QConfig, QConfigMapping, ops
from fxquant.errors import CalibrationWarning
from fxquant.observer import MinMaxObserver, default_weight_observer
from fxquant.qparams import QParams, dequantize, quantize

IMAGE = torch.linspace(-1, 2, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6)


def observed(code: Callable[..., Any], activation: Any = MinMaxObserver, **modules: nn.Module) -> GraphModule:
    mapping = QConfigMapping().set_global(QConfig(activation, default_weight_observer))
    return observe_activations(annotated(Written(code, **modules), IMAGE, "annotate_groups", mapping))


def calibrated(code: Callable[..., Any], **settings: Any) -> GraphModule:
    gm = observed(code, **settings)
    gm(IMAGE)
    return gm


def qparams(gm: GraphModule) -> list[QParams]:
    return [node.args[1] for node in gm.graph.nodes if node.target is ops.quantize]


def test_an_observer_becomes_a_pair() -> None:
    gm = convert_activations(calibrated(lambda m, x: torch.tanh(x)))
    assert calls(gm) == [ops.quantize, ops.dequantize, ops.tanh, ops.quantize, ops.dequantize]
    assert list(gm.children()) == []
    q, fixed = qparams(gm)
    assert (q.zero_point, q.quant_min, q.quant_max, q.dtype) == (85, 0, 255, torch.uint8)
    assert q.scale == pytest.approx(3 / 255)
    assert fixed == QParams(2 / 256, 128)
    real = torch.tanh(dequantize(quantize(IMAGE, q), q))
    assert torch.equal(gm(IMAGE), dequantize(quantize(real, fixed), fixed))


def test_every_member_of_a_group_gets_the_pair_watched_or_not() -> None:
    gm = convert_activations(calibrated(lambda m, x: torch.flatten(torch.max_pool2d(x, 2), 1)))
    pair = [ops.quantize, ops.dequantize]
    assert calls(gm) == [*pair, ops.max_pool2d, *pair, ops.flatten, *pair]
    assert len(set(qparams(gm))) == 1


def test_every_part_gets_the_pair_but_not_the_tuple() -> None:
    gm = convert_activations(calibrated(lambda m, x: torch.chunk(torch.relu(x), 2, 1)[0]))
    pair = [ops.quantize, ops.dequantize]
    assert calls(gm) == [*pair, ops.relu, *pair, ops.chunk, ops.getitem, *pair]


def test_signed_activations_become_unsigned_ones_of_the_same_reals() -> None:
    signed = MinMaxObserver.with_args(dtype=torch.int8, quant_min=-100, quant_max=100)
    gm = calibrated(lambda m, x: torch.relu(x), activation=signed)
    before: Tensor = gm.activation_post_process_0.qparams()
    gm = convert_activations(gm)
    q = qparams(gm)[0]
    assert (q.dtype, q.quant_min, q.quant_max) == (torch.uint8, 28, 228)
    assert (q.scale, q.zero_point) == (before.scale, before.zero_point + 128)
    assert torch.equal(dequantize(quantize(IMAGE, q), q), dequantize(quantize(IMAGE, before), before))


def test_who_reads_in_float_reads_the_exact_value() -> None:
    gm = convert_activations(calibrated(lambda m, x: (torch.cumsum(x, 1), m.conv(x)), conv=nn.Conv2d(4, 4, 1)))
    assert torch.equal(gm(IMAGE)[0], torch.cumsum(IMAGE, 1))
    assert len(qparams(gm)) == 2


def test_observers_that_saw_nothing_are_named() -> None:
    gm = observed(lambda m, x: m.conv(x), conv=nn.Conv2d(4, 4, 1))
    with pytest.warns(CalibrationWarning, match=r"(?s)2 of 2 observers saw no data.*calibrate.*\n  x\n  conv \(Conv2d"):
        convert_activations(gm)


@pytest.mark.parametrize(("dtype", "low", "high"), [(torch.uint8, 0, 127), (torch.int8, -64, 63)])
def test_where_half_of_the_integers_are_used_the_others_are_headroom(dtype: torch.dtype, low: int, high: int) -> None:
    half = MinMaxObserver.with_args(dtype=dtype, quant_min=low, quant_max=high)
    gm = calibrated(lambda m, x: torch.relu(x), activation=half)
    before = gm.activation_post_process_0.qparams()
    gm = convert_activations(gm)
    q = qparams(gm)[0]
    assert (q.scale, q.quant_min, q.quant_max) == (before.scale, 0, 255)
    assert torch.equal(dequantize(quantize(IMAGE, q), q), dequantize(quantize(IMAGE, before), before))
