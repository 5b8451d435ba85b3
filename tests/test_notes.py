"""The code blocks of the notes that fxquant grew from, their imports changed: torch.quantization is fxquant."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxquant
from fxquant import dynamic

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:a dict as qconfig_mapping")
needs_quantized_tensors = pytest.mark.skipif(
    not hasattr(torch, "quantize_per_tensor_dynamic"), reason="this torch has no quantized tensors"
)


@needs_quantized_tensors
def test_the_formula_of_integers_by_hand() -> None:
    """Equal to float rounding, and off by a rounding of the input if the input is not quantized."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 10, bias=False))
    qmodel = fxquant.quantize_dynamic(model, qconfig_spec={torch.nn.Linear}, dtype=torch.qint8)
    model2 = torch.nn.Sequential(torch.nn.Linear(3, 10, bias=False))
    model2[0].weight.data = qmodel[0].weight().dequantize().clone()

    x = torch.rand(1, 3)
    y1 = qmodel(x)

    qw = qmodel[0].weight()
    qx = torch.quantize_per_tensor_dynamic(x, dtype=torch.qint8, reduce_range=False)

    intw = qw.int_repr().to(torch.int64).T  # (3, 10)
    intx = qx.int_repr().to(torch.int64)  # (1, 3)

    zw = qw.q_zero_point()
    zx = qx.q_zero_point()
    sw = qw.q_scale()
    sq = qx.q_scale()

    ones = torch.ones_like(intx)
    y2 = sw * sq * (intx @ intw - zx * ones @ intw - intx @ (zw * torch.ones_like(intw)) + zx * zw)
    y3 = model2(x)

    torch.testing.assert_close(y1, y2, rtol=1e-5, atol=1e-6)
    assert 0 < float((y1 - y3).abs().max()) < 3 * float(qw.dequantize().abs().max()) * sq / 2


def mixed() -> nn.Module:
    m = nn.Sequential(
        nn.Conv2d(2, 64, 8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),  # 16 in the notes, where it is never called; the convolution gives 64
        nn.LSTM(10, 10),
    )
    m.eval()
    return m


def test_the_mixed_model_in_both_modes() -> None:
    from fxquant import quantize_dynamic, quantize_fx

    m = mixed()
    eager = quantize_dynamic(model=m, qconfig_spec={nn.LSTM, nn.Linear}, dtype=torch.qint8, inplace=False)

    qconfig_dict = {"": fxquant.default_dynamic_qconfig}
    model_prepared = quantize_fx.prepare_fx(m, qconfig_dict, torch.rand(32, 2, 8, 8))
    graph = quantize_fx.convert_fx(model_prepared)

    x = torch.rand(32, 2, 8, 8)
    real, (_, real_c) = m(x)
    for quantized in (eager, graph):
        y, (_, c) = quantized(x)
        torch.testing.assert_close(y, real, rtol=0, atol=0.01)
        torch.testing.assert_close(c, real_c, rtol=0, atol=0.02)
    (y, (h, c)), (y2, (h2, c2)) = quantize_dynamic(m, {nn.Conv2d, nn.LSTM, nn.Linear})(x), graph(x)
    for a, b in ((y, y2), (h, h2), (c, c2)):
        assert torch.equal(a, b)
    assert [row.op for row in fxquant.explain(graph).rows if row.precision == "dynamic"] == [
        "DynamicConv2d",
        "DynamicLinear",
        "DynamicRecurrentStates",
    ]


def test_the_blocks_of_eager_mode_as_they_stand() -> None:
    """The model of the notes has a Linear of 16 inputs: it is converted, and never called."""
    m = nn.Sequential(nn.Conv2d(2, 64, 8), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10), nn.LSTM(10, 10))
    m.eval()
    model_quantized = fxquant.quantize_dynamic(
        model=m, qconfig_spec={nn.LSTM, nn.Linear}, dtype=torch.qint8, inplace=False
    )
    assert [type(module) for module in model_quantized][3:] == [dynamic.Linear, dynamic.LSTM]

    mapping = {
        torch.nn.modules.linear.Linear: dynamic.Linear,
        torch.nn.modules.rnn.LSTM: dynamic.LSTM,
    }
    mod: torch.nn.modules.linear.Linear = torch.nn.Linear(4, 5)
    new_mod = mapping[type(mod)].from_float(mod)  # type: ignore[index,attr-defined]
    assert new_mod(torch.rand(2, 4)).shape == (2, 5)


def test_rounding_to_nearest_is_the_baseline() -> None:
    """A weight's integers are round(w / scale), the scale that of the widest weight; 0.0 is exactly an integer."""
    mod = torch.nn.Linear(64, 10)
    observer = fxquant.default_weight_observer()
    observer(mod.weight)
    wt_scale, wt_zp = observer.calculate_qparams()
    qweight = dynamic.Linear.from_float(mod).weight()
    assert qweight.q_scale() == float(wt_scale) == float(mod.weight.abs().max() / 127)
    assert qweight.q_zero_point() == int(wt_zp) == 0
    assert torch.equal(qweight.int_repr(), torch.round(mod.weight.detach() / wt_scale).to(torch.int8))
