from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import QConfig, QConfigMapping, ada_round, calibrate, convert_fx, get_default_qconfig, prepare_fx
from fxquant.errors import CalibrationError, ConfigError
from fxquant.observer import PerChannelMinMaxObserver
from fxquant.observer.scheme import QScheme
from fxquant.qparams import dequantize, quantize
from fxquant.tuning.ada_round import _h, _slope, _undecided

# With weights of four bits, as in the paper's tables: with eight, the activations' rounding hides that of the weights.
WEIGHT = PerChannelMinMaxObserver.with_args(
    dtype=torch.int8, qscheme=QScheme.PER_CHANNEL_SYMMETRIC, quant_min=-7, quant_max=7
)
MAPPING = QConfigMapping().set_global(QConfig(get_default_qconfig().activation, WEIGHT))


def correlated(*shape: int) -> Tensor:
    """Activations whose channels go together, as those of networks do: what the paper's method lives on."""
    mix = torch.randn(shape[1], shape[1]) * torch.logspace(0, -3, shape[1])
    return torch.tensordot(torch.randn(shape), mix, ([1], [1])).movedim(-1, 1).relu().contiguous()


def calibrated(model: nn.Module, x: Tensor) -> nn.Module:
    return calibrate(prepare_fx(model, MAPPING, (x[:1],)), [x], progress=False)


def noise(model: nn.Module, prepared: nn.Module, x: Tensor) -> float:
    return float((convert_fx(prepared)(x) - model(x)).pow(2).mean())


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(24, 16), (200, 24)),
    "conv": (nn.Conv2d(8, 12, 3, padding=1, stride=2), (8, 8, 12, 12)),
    "groups": (nn.Conv2d(8, 12, 3, groups=2, dilation=2, bias=False), (8, 8, 12, 12)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_of_unseen_data_come_out_better_than_by_rounding_to_nearest(kind: str) -> None:
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    model, data = Written(lambda m, x: m.a(x), a=layer), correlated(*(2 * shape[0], *shape[1:]))
    x, unseen = data[: shape[0]], data[shape[0] :]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    prepared = calibrated(model, x)
    before = noise(model, prepared, unseen)
    assert ada_round(prepared, x.split(len(x) // 2)) is prepared
    assert noise(model, prepared, unseen) < 0.9 * before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("beta", [20.0, 2.0])
def test_derivatives_are_those_of_the_formulas(beta: float) -> None:
    v = torch.linspace(-6, 6, 101, dtype=torch.float64).requires_grad_()
    h = _h(v)
    (1 - (2 * h - 1).abs() ** beta).mean().backward()
    torch.testing.assert_close(v.grad, (_slope(v) * _undecided(h, beta)).detach())


def test_weights_become_a_neighbour_of_what_they_were() -> None:
    torch.manual_seed(0)
    model, x = Written(lambda m, x: m.a(x), a=nn.Linear(24, 16)), correlated(200, 24)
    prepared = calibrated(model, x)
    observer: Any = prepared.get_submodule("a.weight_observer")
    q, w = observer.qparams(), model.get_parameter("a.weight")
    rounded = ada_round(prepared, [x]).get_parameter("a.weight")
    steps = (rounded / q.scale[:, None]).detach()
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert ((steps - w / q.scale[:, None]).abs() < 1 + 1e-4).all()
    assert not torch.equal(rounded, dequantize(quantize(w, q), q))


def test_layers_are_rounded_one_after_the_other() -> None:
    torch.manual_seed(0)
    model = Written(lambda m, x: m.b(F.relu(m.a(x))), a=nn.Conv2d(8, 16, 3), b=nn.Conv2d(16, 8, 1))
    x, unseen = correlated(16, 8, 12, 12).chunk(2)
    prepared = calibrated(model, x)
    before = noise(model, prepared, unseen)
    assert noise(model, ada_round(prepared, [x]), unseen) < 0.95 * before


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (Written(lambda m, x: m.a(x), a=nn.Conv1d(4, 4, 3)), (2, 4, 8), "no form as one matrix here"),
        (Written(lambda m, x: m.a(m.a(x)), a=nn.Linear(8, 8)), (20, 8), "shared or computed"),
        (Written(lambda m, x: m.a(x), a=nn.Linear(64, 8)), (20, 64), "20 inputs say too little .* 64 columns"),
    ],
)
def test_what_is_left_as_it_is(model: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    x = torch.randn(shape)
    prepared = calibrated(model, x)
    weight = prepared.get_parameter("a.weight").clone()
    ada_round(prepared, [x])
    assert torch.equal(prepared.get_parameter("a.weight"), weight)
    [refusal, *_] = [r for node in prepared.graph.nodes for r in node.meta.get("refusals", ())]
    assert re.search(reason, refusal)


def test_what_makes_no_sense_is_refused() -> None:
    model, x = Written(lambda m, x: m.a(x), a=nn.Linear(8, 8)), torch.randn(20, 8)
    with pytest.raises(ConfigError, match="prepare_fx"):
        ada_round(model, [x])
    with pytest.raises(CalibrationError, match="saw no data"):
        ada_round(prepare_fx(model, MAPPING, (x,)), [x])
