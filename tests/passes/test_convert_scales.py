from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.convert_scales import LONGEST, fitted  # type: ignore[import-untyped]
from torch import Tensor, nn

from fxquant import (
    QConfig,
    QConfigMapping,
    convert_fx,
    convert_to_reference_fx,
    get_default_qat_qconfig_mapping,
    get_default_qconfig,
    get_default_qconfig_mapping,
    ops,
    prepare_fx,
    prepare_qat_fx,
    without,
)
from fxquant.observer import MinMaxObserver, PerChannelMinMaxObserver, PerChannelMSEObserver, QScheme
from fxquant.qparams import QParams, dequantize, quantize


def loss(w: Tensor, q: QParams) -> Tensor:
    return (dequantize(quantize(w, q), q) - w).double().square().flatten(1).sum(1)


def of_range(w: Tensor) -> QParams:
    scale = w.flatten(1).abs().amax(1).clamp(min=1e-30) / 127
    return QParams(scale, 0, -127, 127, torch.int8, 0)


@pytest.mark.parametrize(("shape", "decibels"), [((256, 1, 3, 3), 2.5), ((256, 32), 0.9), ((256, 512), 0.1)])
def test_every_channel_loses_less_or_the_same(shape: tuple[int, ...], decibels: float) -> None:
    w = torch.randn(shape)
    q = of_range(w)
    before, after = loss(w, q), loss(w, fitted(w, q))
    assert (after <= before).all()
    assert 10 * torch.log10(before.sum() / after.sum()) > decibels


def test_what_is_on_codes_keeps_its_scale() -> None:
    w = torch.cat([torch.randint(-126, 127, (8, 20)).float() * 2.0**-7, torch.zeros(1, 20)])
    w[:, 0] = 127 * 2.0**-7
    w[8] = 0
    q = of_range(w)
    assert torch.equal(fitted(w, q).scale, torch.as_tensor(q.scale))


def test_one_scale_of_a_whole_tensor_is_a_float32() -> None:
    w = torch.randn(4, 4)
    q = QParams(float(w.abs().max() / 127), 0, -127, 127, torch.int8)
    found = fitted(w, q)
    assert isinstance(found.scale, float)
    assert found.scale == float(torch.tensor(found.scale))
    assert loss(w, found).sum() <= loss(w, q).sum()


def weight_scale(model: nn.Module, x: Tensor, mapping: QConfigMapping, trains: bool = False, **kwargs: Any) -> Any:
    prepared = (prepare_qat_fx if trains else prepare_fx)(model, mapping, (x,))
    prepared(x)
    reference: Any = convert_to_reference_fx(prepared.eval(), **kwargs)
    [node] = [n for n in reference.graph.nodes if n.target is ops.dequantize and n.args[0].op == "get_attr"]
    scale = node.args[1].scale
    return reference.get_buffer(str(scale.target)) if isinstance(scale, torch.fx.Node) else scale


def mapping_of(weight: Any) -> QConfigMapping:
    return QConfigMapping().set_global(QConfig(get_default_qconfig().activation, weight))


SYMMETRIC = {"dtype": torch.int8, "qscheme": QScheme.PER_CHANNEL_SYMMETRIC, "quant_min": -127, "quant_max": 127}
PER_TENSOR = SYMMETRIC | {"qscheme": QScheme.PER_TENSOR_SYMMETRIC}


@pytest.mark.parametrize(
    ("inputs", "mapping", "searched"),
    [
        (8, get_default_qconfig_mapping(), True),
        (LONGEST, get_default_qconfig_mapping(), True),
        (LONGEST + 1, get_default_qconfig_mapping(), False),
        (8, mapping_of(MinMaxObserver.with_args(**PER_TENSOR)), True),
        (LONGEST, mapping_of(MinMaxObserver.with_args(**PER_TENSOR)), False),
        (8, mapping_of(PerChannelMinMaxObserver.with_args(**SYMMETRIC)), True),
        (8, mapping_of(PerChannelMSEObserver.with_args(**SYMMETRIC)), False),
    ],
)
def test_which_weights_it_is_for(inputs: int, mapping: QConfigMapping, searched: bool) -> None:
    model, x = nn.Sequential(nn.Linear(inputs, 6)).eval(), torch.randn(3, inputs)
    found = weight_scale(model, x, mapping)
    plain = weight_scale(model, x, mapping, passes=[without("convert_scales")])
    assert bool((torch.as_tensor(found) != torch.as_tensor(plain)).any()) == searched


def test_training_keeps_its_scales() -> None:
    model, x = nn.Sequential(nn.Linear(8, 6)), torch.randn(3, 8)
    mapping = get_default_qat_qconfig_mapping()
    plain = weight_scale(model, x, mapping, True, passes=[without("convert_scales")])
    assert torch.equal(weight_scale(model, x, mapping, True), plain)


def test_depthwise_filters_come_out_better_in_int8() -> None:
    model, x = nn.Sequential(nn.Conv2d(32, 32, 3, groups=32, bias=False)).eval(), torch.randn(4, 32, 12, 12)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    prepared(x)

    def noise(**kwargs: Any) -> float:
        converted = convert_fx(prepared, **kwargs)
        weight = converted.state_dict()["0.weight"]
        assert weight.dtype is torch.int8
        return float((converted(x) - model(x)).square().mean())

    assert noise() < noise(passes=[without("convert_scales")])
