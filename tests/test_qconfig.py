"""QConfigs: what they refuse, how they compare, and the numbers of the default ones."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from fxquant import qconfig
from fxquant.errors import ConfigError
from fxquant.observer import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
    QScheme,
    default_observer,
    default_weight_observer,
)
from fxquant.qconfig import QConfig, get_default_qconfig, qconfig_equals

FULL = (torch.uint8, 0, 255, QScheme.PER_TENSOR_AFFINE)
PER_CHANNEL_WEIGHT = (PerChannelMinMaxObserver, torch.int8, -127, 127, QScheme.PER_CHANNEL_SYMMETRIC, 0)
PER_TENSOR_WEIGHT = (MinMaxObserver, torch.int8, -127, 127, QScheme.PER_TENSOR_SYMMETRIC, None)


def numbers(observer) -> tuple:
    return (type(observer), observer.dtype, observer.quant_min, observer.quant_max, observer.qscheme)


@pytest.mark.parametrize("backend", ["x86", "fbgemm", "onednn", "qnnpack"])
def test_default_qconfigs_use_all_eight_bits(backend):
    chosen = get_default_qconfig(backend)
    assert numbers(chosen.activation()) == (HistogramObserver, *FULL)
    weight = chosen.weight()
    expected = PER_TENSOR_WEIGHT if backend == "qnnpack" else PER_CHANNEL_WEIGHT
    assert (*numbers(weight), weight.ch_axis) == expected


def test_the_default_backend_is_x86():
    assert get_default_qconfig() == get_default_qconfig("x86", 0)


def test_min_max_defaults():
    assert numbers(qconfig.default_qconfig.activation()) == (MinMaxObserver, *FULL)
    assert numbers(qconfig.default_qconfig.weight()) == PER_TENSOR_WEIGHT[:-1]
    assert numbers(qconfig.default_per_channel_qconfig.weight()) == PER_CHANNEL_WEIGHT[:-1]


@pytest.mark.parametrize(
    ("chosen", "weight_kind"),
    [
        (qconfig.default_symmetric_qnnpack_qconfig, MinMaxObserver),
        (qconfig.default_per_channel_symmetric_qnnpack_qconfig, PerChannelMinMaxObserver),
    ],
)
def test_symmetric_qnnpack_defaults(chosen, weight_kind):
    activation, weight = chosen.activation(), chosen.weight()
    assert numbers(activation) == (HistogramObserver, torch.int8, -128, 127, QScheme.PER_TENSOR_AFFINE)
    assert numbers(weight)[:4] == (weight_kind, torch.int8, -127, 127)
    assert weight.qscheme.symmetric
    assert activation.eps == weight.eps == 2**-12


def test_unknown_backend_and_version():
    with pytest.raises(ConfigError, match="unknown backend 'cuda'; known: x86, fbgemm, onednn, qnnpack"):
        get_default_qconfig("cuda")
    with pytest.raises(ConfigError, match="unknown version 3"):
        get_default_qconfig("x86", 3)


@pytest.mark.parametrize(
    ("activation", "weight", "message"),
    [
        (
            MinMaxObserver(),
            MinMaxObserver,
            r"activation of a QConfig is a MinMaxObserver instance.*MinMaxObserver\.with",
        ),
        (MinMaxObserver, MinMaxObserver(), "weight of a QConfig is a MinMaxObserver instance"),
        (8, MinMaxObserver, "activation of a QConfig must be an observer class"),
        (None, MinMaxObserver, "activation of a QConfig must be an observer class"),
    ],
)
def test_what_is_no_factory_is_refused(activation, weight, message):
    with pytest.raises(ConfigError, match=message):
        QConfig(activation, weight)
    with pytest.raises(ValueError, match=message):
        QConfig(activation=activation, weight=weight)


def test_qconfig_equals():
    first = QConfig(default_observer, default_weight_observer)
    same = QConfig(MinMaxObserver.with_args(eps=2**-60, quant_max=255, quant_min=0), default_weight_observer)
    assert qconfig_equals(first, same)
    assert qconfig_equals(None, None)
    for other in (
        None,
        first._replace(activation=MovingAverageMinMaxObserver),
        first._replace(weight=default_weight_observer.with_args(quant_min=-100, quant_max=100)),
    ):
        assert not qconfig_equals(first, other)
        assert not qconfig_equals(other, first)


def test_qconfigs_can_be_pickled_and_copied():
    for chosen in (get_default_qconfig("x86"), QConfig(MinMaxObserver, None)):
        assert pickle.loads(pickle.dumps(chosen)) == chosen
        assert copy.deepcopy(chosen) == chosen
        assert isinstance(copy.deepcopy(chosen), QConfig)
