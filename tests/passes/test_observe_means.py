from __future__ import annotations

import copy

import pytest
import torch
from graphs import Written, calls
from torch import nn

from fxquant import (
    QConfigMapping,
    calibrate,
    convert_fx,
    default_weight_only_qconfig,
    float16_dynamic_qconfig,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
    ops,
    prepare_fx,
    prepare_qat_fx,
)
from fxquant.errors import CalibrationError
from fxquant.observer.mean import MeanObserver

X = torch.randn(2, 4, 6, 6)


def net() -> Written:
    return Written(lambda m, x: m.head(m.conv(x).mean((2, 3))), conv=nn.Conv2d(4, 3, 2), head=nn.Linear(3, 5))


def means(model: nn.Module) -> list[MeanObserver]:
    return [module for module in model.modules() if isinstance(module, MeanObserver)]


def test_every_layer_has_the_mean_of_its_input_channels() -> None:
    prepared = prepare_fx(net(), get_default_qconfig_mapping(), (X,))
    calibrate(prepared, [X, 3 * X], progress=False)
    of_conv, of_head = means(prepared)
    torch.testing.assert_close(of_conv.mean.float(), 2 * X.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert of_head.mean.shape == (3,)
    assert of_conv.where.startswith("the input of conv (Conv2d")


def test_what_stays_float_and_what_trains_has_none() -> None:
    mapping = get_default_qconfig_mapping().set_module_name("conv", None)
    assert len(means(prepare_fx(net(), mapping, (X,)))) == 1
    assert not means(prepare_fx(net(), QConfigMapping(), (X,)))
    assert not means(prepare_qat_fx(net(), get_default_qat_qconfig_mapping(), (X,)))


def test_float16_has_none() -> None:
    for qconfig, count in ((default_weight_only_qconfig, 1), (float16_dynamic_qconfig, 0)):
        mapping = QConfigMapping().set_object_type(nn.Linear, qconfig)
        assert len(means(prepare_fx(net(), mapping, (X,)))) == count


def test_dead_code_is_removed_around_it() -> None:
    prepared = prepare_fx(net(), get_default_qconfig_mapping(), (X,))
    before = calls(prepared)
    prepared.graph.eliminate_dead_code()
    assert calls(prepared) == before


def test_the_order_of_batches_makes_no_difference() -> None:
    batches = [torch.randn(5, 3, 7) * 10.0 ** (i % 4) for i in range(50)]
    first, second = MeanObserver(1), MeanObserver(1)
    for x in batches:
        first(x)
    for x in reversed(batches):
        second(x)
    assert torch.equal(first.total, second.total)
    assert float(first.count) == 5 * 7 * 50


def test_it_forgets_loads_and_copies() -> None:
    seen, new = MeanObserver(-1), MeanObserver(-1)
    seen(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    new.load_state_dict(seen.state_dict())
    assert new.mean.tolist() == copy.deepcopy(seen).mean.tolist() == [2.0, 3.0]
    with pytest.raises(CalibrationError, match="saw 2 channels before, and 3 now"):
        seen(torch.zeros(2, 3))
    seen.reset_min_max_vals()
    assert not seen.observed
    assert seen.mean.tolist() == [0.0, 0.0]


def test_means_that_chance_explains_are_not_expected_again() -> None:
    chance, sure, single = MeanObserver(-1), MeanObserver(-1), MeanObserver(-1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 64, generator=generator)
    chance(noise)
    sure(noise + 5)
    single(noise[:1])
    assert float(chance.expected.norm()) < 0.6 * float(chance.mean.norm())
    torch.testing.assert_close(sure.expected, sure.mean, rtol=0.01, atol=0)
    torch.testing.assert_close(single.expected, single.mean, rtol=1e-3, atol=0)


def test_one_batch_is_enough_and_none_is_no_error() -> None:
    prepared = prepare_fx(net(), get_default_qconfig_mapping(), (X,))
    with pytest.warns(match="observers saw no data"):
        convert_fx(prepared)
    assert ops.conv2d in calls(prepared)
