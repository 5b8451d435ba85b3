"""What a finished model says of a call that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant import PrepareCustomConfig, calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import InputError
from tests.graphs import Written

X = torch.randn(2, 4, 6, 6)


class Refusal(ValueError):
    """Of the user's own."""


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 3:
            raise Refusal
        return x


def quantized(code: Callable[..., Any]) -> nn.Module:
    model = Written(code, conv=nn.Conv2d(4, 4, 3, padding=1), picky=Picky())
    custom = PrepareCustomConfig().set_non_traceable_module_classes([Picky])
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,), custom)
    return convert_fx(calibrate(prepared, [X], progress=False))


def test_an_op_that_stays_float_is_named_with_its_place_and_what_the_model_was_given() -> None:
    model = quantized(lambda m, x: torch.sin(m.conv(x)).view(2, 144))
    with pytest.raises(InputError, match=r"the root module .*failed on float32 \[3, 4, 6, 6\]: .*invalid for input of"):
        model(torch.randn(3, 4, 6, 6))


@pytest.mark.parametrize("call", [lambda m: m(), lambda m: m(X, X), lambda m: m(image=X)])
@pytest.mark.parametrize("code", [lambda m, x: m.conv(x), lambda m, x: torch.sin(m.conv(x))])
def test_arguments_that_do_not_fit_are_held_against_forward(code: Any, call: Any) -> None:
    with pytest.raises(InputError, match=r"do not fit Written\.forward\(x\)"):
        call(quantized(code))


@pytest.mark.parametrize("x", [X[None, None], X.to_sparse(), torch.nested.nested_tensor([X[0], X[1, :2]])])
def test_no_plain_tensor_of_the_examples_rank(x: Tensor) -> None:
    with pytest.raises(InputError):
        quantized(lambda m, x: m.conv(x))(x)


def test_what_the_users_own_modules_raise_stays() -> None:
    model = quantized(lambda m, x: m.picky(m.conv(x)))
    assert isinstance(model, GraphModule)
    with pytest.raises(Refusal):
        model(torch.randn(3, 4, 6, 6))
