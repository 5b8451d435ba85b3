from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written, calls, graph_of
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, fuse_fx, get_default_qconfig_mapping, ops, prepare_fx
from fxquant.analysis.measures import sqnr_db
from fxquant.graph.constants import constant_value

X = torch.randn(2, 3, 8, 8)
PER_CHANNEL = torch.rand(4, 1, 1) + 0.5


class FrozenBatchNorm(nn.Module):
    """As detectors have it: all of it is buffers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.rand(channels) + 0.5)
        self.register_buffer("bias", torch.randn(channels))
        self.register_buffer("running_mean", torch.randn(channels))
        self.register_buffer("running_var", 4 * torch.rand(channels) + 0.01)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, var = (t.reshape(1, -1, 1, 1) for t in self.buffers())
        scale = weight * (var + 1e-5).rsqrt()
        return x * scale + (bias - mean * scale)


def convolved(code: Any, layer: nn.Module | None = None, **buffers: Tensor) -> nn.Module:
    """A convolution `conv` from 3 channels to 4, and these buffers."""
    model = Written(code, conv=layer or nn.Conv2d(3, 4, 3))
    for name, value in buffers.items():
        model.register_buffer(name, value)
    return model


def test_a_frozen_batch_norm_costs_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), FrozenBatchNorm(16), nn.ReLU(), nn.Conv2d(16, 8, 3)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fused = fuse_fx(model, example_inputs=(X,))
    assert calls(fused) == [ops.conv2d, ops.relu, ops.conv2d]
    torch.testing.assert_close(fused(X), model(X), atol=1e-4, rtol=1e-4)
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X], progress=False)
    quantized = convert_fx(prepared)
    assert sqnr_db(model(X), quantized(X)) > 30
    assert not explain(quantized).float_rows
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("code", "operand"),
    [
        (lambda m, x: m.conv(x) * m.t, PER_CHANNEL),
        (lambda m, x: m.t * m.conv(x), PER_CHANNEL),
        (lambda m, x: m.conv(x) / m.t, PER_CHANNEL[None]),
        (lambda m, x: m.conv(x) - m.t, torch.tensor(0.5)),
        (lambda m, x: m.conv(x) + m.t, torch.tensor([2.0])),
        (lambda m, x: (m.conv(x) * 0.5 + 3) * m.t - 1, PER_CHANNEL),
    ],
)
def test_steps_behind_a_convolution(code: Any, operand: Tensor) -> None:
    model = convolved(code, t=operand)
    fused = fuse_fx(model, example_inputs=(X,))
    assert calls(fused) == [ops.conv2d]
    torch.testing.assert_close(fused(X), model(X))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(6, 4, 3, groups=2), (2, 6, 9)),
        (nn.Conv3d(3, 4, 2), (2, 3, 4, 4, 4)),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
    ],
)
def test_other_convolutions(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x, t = torch.randn(shape), torch.rand(1, 4, *[1] * (len(shape) - 2)) + 0.5
    model = convolved(lambda m, x: m.conv(x) * m.t + m.t, layer, t=t)
    fused = fuse_fx(model, example_inputs=(x,))
    assert len(calls(fused)) == 1
    torch.testing.assert_close(fused(x), model(x))


@pytest.mark.parametrize(
    ("code", "operand"),
    [
        (lambda m, x: m.conv(x) * m.t, torch.rand(6, 6)),  # a factor for each pixel
        (lambda m, x: m.conv(x) * m.t, torch.rand(2, 4, 1, 1)),  # another one for each image
        (lambda m, x: m.conv(x) * m.t, torch.zeros(4, 1, 1)),
        (lambda m, x: m.conv(x) / m.t, torch.zeros(4, 1, 1)),
        (lambda m, x: m.conv(x) * x.mean(), PER_CHANNEL),
        (lambda m, x: torch.add(y := m.conv(x), y * m.t), PER_CHANNEL),  # what is in front is wanted, too
        (lambda m, x: m.t - m.conv(x), PER_CHANNEL),
    ],
)
def test_what_stays_a_step(code: Any, operand: Tensor) -> None:
    model = convolved(code, t=operand)
    fused = fuse_fx(model, example_inputs=(X,))
    assert calls(fused) != [ops.conv2d]
    torch.testing.assert_close(fused(X), model(X), equal_nan=True)


def test_weights_that_others_read_stay() -> None:
    model = convolved(lambda m, x: F.conv2d(x, m.w) * 2 + F.conv2d(x, m.w), w=torch.randn(4, 3, 3, 3))
    fused = fuse_fx(model, example_inputs=(X,))
    assert calls(fused) == [ops.conv2d, ops.conv2d, ops.add]
    torch.testing.assert_close(fused(X), model(X))


def test_a_buffer_that_is_written_to_is_no_constant() -> None:
    def build(x: Any, w: Any, t: Any) -> Any:
        y = ops.mul(ops.conv2d(x, w), t)
        t.mul_(2)
        return y

    gm = graph_of(build, w=torch.randn(4, 3, 3, 3), t=PER_CHANNEL)
    t, w = (next(n for n in gm.graph.nodes if n.target == name) for name in "tw")
    assert constant_value(gm, t) is None
    assert constant_value(gm, w) is not None
