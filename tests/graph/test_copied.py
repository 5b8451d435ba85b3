"""Weights that hooks and parametrizations compute run in int8, and the user's model keeps them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from fxquant import (
    QConfigMapping,
    calibrate,
    convert_fx,
    default_dynamic_qconfig,
    explain,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
    prepare_fx,
    prepare_qat_fx,
)

WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "hook of weight_norm": weight_norm,
    "hook of spectral_norm": spectral_norm,
}


def plain(wrapped: nn.Module, x: torch.Tensor) -> nn.Conv2d:
    """A convolution with the weight that `wrapped` computes."""
    wrapped(x)
    layer = nn.Conv2d(3, 8, 3)
    layer.weight, layer.bias = (nn.Parameter(getattr(wrapped, name).detach()) for name in ("weight", "bias"))
    return layer


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_computed_weight_runs_in_int8_as_a_plain_one(name: str) -> None:
    x = torch.randn(2, 3, 8, 8)
    layer = WRAPPERS[name](nn.Conv2d(3, 8, 3)).eval()
    made = []
    for first in (layer, plain(layer, x)):
        model = nn.Sequential(first, nn.ReLU()).eval()
        prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
        made.append(convert_fx(calibrate(prepared, [x], progress=False)))
    assert [row.precision for row in explain(made[0]).rows] == ["boundary", "int8"]
    assert torch.equal(made[0](x), made[1](x))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_users_model_keeps_it(name: str) -> None:
    x = torch.randn(2, 4)
    model = nn.Sequential(WRAPPERS[name](nn.Linear(4, 3))).eval()
    expected, kind = model(x), type(model[0])
    state = copy.deepcopy(model.state_dict())
    prepare_fx(model, QConfigMapping().set_global(default_dynamic_qconfig), (x,))
    assert torch.equal(model(x), expected)
    assert type(model[0]) is kind
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())


def test_in_training_it_stays_computed() -> None:
    x = torch.randn(2, 4)
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))
    prepared = prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping(), (x,))
    prepared(x).sum().backward()
    assert any(name.endswith("original0") for name, p in prepared.named_parameters() if p.grad is not None)
