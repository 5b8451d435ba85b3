"""What the code blocks of the notes that fxquant grew from compute in both modes. test_notes_blocks runs their text."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxquant
from fxquant import dynamic

pytestmark = pytest.mark.filterwarnings("ignore:a dict as qconfig_mapping")


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
