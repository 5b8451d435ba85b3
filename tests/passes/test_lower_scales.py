from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.lower_scales import lower_scales
from graphs import calls, graph_of
from torch import nn

from fxquant import QConfigMapping, convert_fx, explain, get_default_qconfig_mapping, ops, prepare_fx
from fxquant.qconfig import per_channel_dynamic_qconfig


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("op", [ops.conv1d, ops.conv2d, ops.conv3d])
def test_a_number_for_each_channel_is_no_convolution(op: Any, bias: bool) -> None:
    ones = [1] * {ops.conv1d: 1, ops.conv2d: 2, ops.conv3d: 3}[op]
    tensors = {"w": torch.randn(4, 1, *ones), **({"b": torch.randn(4)} if bias else {})}
    gm = graph_of(lambda x, **p: op(x, p["w"], p.get("b"), groups=4), **tensors)
    x = torch.randn(2, 4, *[3 * size for size in ones])
    expected = gm(x)
    after = lower_scales(gm)
    assert calls(after) == [ops.batch_norm]
    torch.testing.assert_close(after(x), expected)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((4, 1, 1, 1), {"groups": 4, "stride": (2, 1)}),
        ((4, 1, 1, 1), {"groups": 4, "padding": (0, 1)}),
        ((4, 1, 1, 3), {"groups": 4}),
        ((8, 1, 1, 1), {"groups": 4}),
        ((4, 4, 1, 1), {}),
    ],
    ids=["strided", "padded", "of several taps", "of several outputs a channel", "of all channels"],
)
def test_other_convolutions_stay(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    gm = graph_of(lambda x, w: ops.conv2d(x, w, None, **settings), w=torch.randn(shape))
    assert calls(lower_scales(gm)) == [ops.conv2d]


def network() -> nn.Sequential:
    norm = nn.BatchNorm2d(4)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    return nn.Sequential(nn.ReLU(), norm, nn.ReLU(), nn.Conv2d(4, 8, 3)).eval()


@pytest.mark.parametrize(
    "mapping",
    [
        QConfigMapping().set_global(per_channel_dynamic_qconfig),
        get_default_qconfig_mapping().set_module_name("1", None),
    ],
    ids=["dynamic", "left in float"],
)
def test_a_lone_batch_norm_in_float_is_one(mapping: QConfigMapping) -> None:
    model, x = network(), torch.randn(2, 4, 6, 6)
    prepared = prepare_fx(model, mapping, (x,))
    prepared(x)
    quantized = convert_fx(prepared)
    [row] = (row for row in explain(quantized).rows if row.place == "1")
    assert (row.op, row.precision) == ("batch_norm", "float")
    torch.testing.assert_close(quantized(x), model(x), rtol=0.05, atol=0.05)
