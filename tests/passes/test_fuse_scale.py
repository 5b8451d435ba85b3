from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written, calls
from torch import nn

from fxquant import calibrate, convert_fx, fuse_fx, get_default_qconfig_mapping, ops, prepare_fx, without
from fxquant.analysis.measures import sqnr_db

X = torch.randn(3, 5, 6)


def scaled(code: Any, bias: bool = True, **parameters: torch.Tensor) -> nn.Module:
    """A linear layer `fc` of 6 inputs and 8 outputs, and these parameters."""
    model = Written(code, fc=nn.Linear(6, 8, bias=bias))
    for name, value in parameters.items():
        model.register_parameter(name, nn.Parameter(value))
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("s", [torch.rand(8) + 0.5, torch.rand(1, 8) + 0.5, torch.tensor([2.0]), torch.tensor(0.5)])
def test_a_factor_goes_into_the_layer(s: torch.Tensor, bias: bool) -> None:
    for code in (lambda m, x: m.fc(x) * m.s, lambda m, x: m.s * m.fc(x)):
        model = scaled(code, bias, s=s)
        fused = fuse_fx(model, example_inputs=(X,))
        assert calls(fused) == [ops.linear]
        assert [*fused.state_dict()] == ["fc.weight", *(["fc.bias"] if bias else [])]
        torch.testing.assert_close(fused(X), model(X))


@pytest.mark.parametrize("s", [2.5, -1])
def test_a_number_goes_into_the_layer(s: float) -> None:
    model = scaled(lambda m, x: m.fc(x) * s)
    fused = fuse_fx(model, example_inputs=(X,))
    assert calls(fused) == [ops.linear]
    torch.testing.assert_close(fused(X), model(X))


def test_the_user_s_model_stays_as_it_is() -> None:
    model = scaled(lambda m, x: m.fc(x) * m.s, s=torch.rand(8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fuse_fx(model, example_inputs=(X,))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("code", "s"),
    [
        (lambda m, x: m.fc(x) * m.s, torch.rand(5, 1)),  # a factor for each row
        (lambda m, x: m.fc(x) * m.s, torch.zeros(8)),
        (lambda m, x: m.fc(x) * x.mean(), None),
        (lambda m, x: torch.add(y := m.fc(x), y * m.s), torch.rand(8)),  # the unscaled value is wanted, too
    ],
)
def test_what_stays_a_product(code: Any, s: torch.Tensor | None) -> None:
    model = scaled(code, **({} if s is None else {"s": s}))
    fused = fuse_fx(model, example_inputs=(X,))
    assert ops.mul in calls(fused)
    torch.testing.assert_close(fused(X), model(X))


def test_outputs_that_the_factors_even_out_share_a_scale() -> None:
    s = 10 ** torch.linspace(-2, 0, 8)
    model = scaled(lambda m, x: m.fc(x) * m.s, s=s)
    with torch.no_grad():
        model.fc.weight.div_(s[:, None])  # type: ignore[union-attr, operator]

    def decibels(**how: Any) -> float:
        prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,), **how)
        return float(sqnr_db(model(X), convert_fx(calibrate(prepared, [X], progress=False))(X)))

    assert decibels() > decibels(passes=[without("fuse_scale")]) + 6
