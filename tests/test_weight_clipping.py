from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn

from fxquant import QConfig, QConfigMapping, calibrate, convert_fx, get_default_qconfig, prepare_fx
from fxquant.errors import CalibrationError
from fxquant.observer import PerChannelMinMaxObserver, PerChannelMSEObserver, QScheme
from fxquant.qparams import dequantize, quantize


def four_bits(kind: type[PerChannelMinMaxObserver]) -> Any:
    return kind.with_args(dtype=torch.int8, qscheme=QScheme.PER_CHANNEL_SYMMETRIC, quant_min=-7, quant_max=7)


def error(kind: type[PerChannelMinMaxObserver], w: Tensor) -> Tensor:
    observer = four_bits(kind)()
    observer(w)
    q = observer.qparams()
    squares: Tensor = (dequantize(quantize(w, q), q) - w).square()
    return squares.flatten(1).sum(1)


def test_no_channel_is_worse_and_normal_ones_are_better() -> None:
    w = torch.cat([torch.randn(16, 300), torch.randn(4, 300).sign(), torch.zeros(1, 300)])
    clipped, whole = error(PerChannelMSEObserver, w), error(PerChannelMinMaxObserver, w)
    assert (clipped <= whole).all()
    assert clipped[:16].mean() < 0.75 * whole[:16].mean()
    assert (clipped[16:] < 1e-6).all()  # two values, or one, lose nothing at full range


def test_the_tensor_seen_last_counts() -> None:
    observer, once = four_bits(PerChannelMSEObserver)(), four_bits(PerChannelMSEObserver)()
    w = torch.randn(4, 2, 3, 3)
    for each in (torch.randn(4, 2, 3, 3) * 10, w):
        observer(each)
    once(w)
    assert torch.equal(observer.calculate_qparams()[0], once.calculate_qparams()[0])
    with pytest.raises(CalibrationError, match="channels"):
        observer(torch.randn(5, 2, 3, 3))


def test_a_layer_of_four_bit_weights_comes_out_better() -> None:
    model, x = Written(lambda m, x: m.a(x), a=nn.Conv2d(32, 16, 3)), torch.randn(4, 32, 9, 9)
    nn.init.normal_(model.a.weight, std=0.05)  # type: ignore[arg-type]

    def noise(kind: type[PerChannelMinMaxObserver]) -> float:
        mapping = QConfigMapping().set_global(QConfig(get_default_qconfig().activation, four_bits(kind)))
        prepared = calibrate(prepare_fx(model, mapping, (x[:1],)), [x], progress=False)
        return float((convert_fx(prepared)(x) - model(x)).square().mean())

    assert noise(PerChannelMSEObserver) < 0.75 * noise(PerChannelMinMaxObserver)
