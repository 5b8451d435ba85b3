"""Modules whose weights are computed before every call are captured as what they are without that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize

from fxquant import (
    QConfigMapping,
    convert_fx,
    dynamic,
    explain,
    per_channel_dynamic_qconfig,
    prepare_fx,
    quantize_dynamic,
)
from fxquant.graph.trace import trace


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


def symmetric(module: nn.Conv1d) -> nn.Module:
    return parametrize.register_parametrization(module, "weight", Symmetric())


def twice(module: nn.Conv1d) -> nn.Module:
    symmetric(module)
    return parametrize.register_parametrization(module, "bias", nn.Identity())


MAKERS: dict[str, Callable[[Any], nn.Module]] = {
    "weight_norm": lambda module: parametrizations.weight_norm(module, dim=2),
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm by hooks": utils.weight_norm,
    "spectral_norm by hooks": utils.spectral_norm,
    "a user's own": symmetric,
    "several": twice,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_it_becomes_a_plain_module(name: str) -> None:
    with torch.enable_grad():
        model = nn.Sequential(MAKERS[name](nn.Conv1d(6, 6, 6)), nn.ReLU(), nn.Conv1d(6, 4, 3)).eval()
        x = torch.randn(2, 6, 30)
        expected = model(x).detach()
    kinds, state = [type(module) for module in model], {k: v.clone() for k, v in model.state_dict().items()}
    traced = trace(model, (x,))
    torch.testing.assert_close(traced(x), expected, rtol=1e-6, atol=1e-6)
    assert {"0.weight", "0.bias"} <= traced.state_dict().keys()
    prepared = prepare_fx(model, QConfigMapping().set_global(per_channel_dynamic_qconfig), x)
    rows = [(row.op, row.absorbed) for row in explain(convert_fx(prepared)).rows if row.precision == "dynamic"]
    assert rows == [("DynamicConv2d", ("ReLU",)), ("DynamicConv2d", ())]
    assert [type(module) for module in model] == kinds
    assert torch.equal(model(x), expected)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["weight_norm", "weight_norm by hooks"])
@pytest.mark.parametrize("inplace", [False, True])
def test_module_by_module(name: str, inplace: bool) -> None:
    model = nn.Sequential(MAKERS[name](nn.Conv1d(6, 6, 6)), nn.Flatten(), nn.Linear(60, 4)).eval()
    x = torch.randn(2, 6, 15)
    expected = model(x)
    quantized = quantize_dynamic(model, {model[0], nn.Linear}, inplace=inplace)
    assert [type(module) for module in quantized] == [dynamic.Conv1d, nn.Flatten, dynamic.Linear]
    torch.testing.assert_close(quantized(x), expected, rtol=0, atol=0.05)
    assert (quantized is model) == inplace
    assert inplace or torch.equal(model(x), expected)
