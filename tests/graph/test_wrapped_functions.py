"""What torch.fx.wrap keeps torch.fx from looking into is looked into, and stays a call only where it has to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import _symbolic_trace
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import InputError
from fxquant.graph.trace import trace


def drop_rows(x: Tensor, p: float, training: bool) -> Tensor:
    if not training or p == 0.0:
        return x
    return x * torch.empty(x.shape[0], 1, 1, 1).bernoulli_(1 - p)


def shifted(x: Tensor, by: int) -> Tensor:
    by = by % x.shape[-1]
    return torch.roll(x, by, -1) if by else x


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = x.chunk(2, 1)
    return F.relu(first), second


def branching(x: Tensor) -> Tensor:
    return F.relu(x) if x.mean() > 0 else x


def failing(x: Tensor) -> Tensor:
    raise ValueError("no such branch")


NAMES = ("drop_rows", "shifted", "halves", "branching", "failing")
for _name in NAMES:
    torch.fx.wrap(_name)

X = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, code: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.code(self.first(x)))
        return y


def calls_in(gm: Any) -> set[str]:
    return {getattr(node.target, "__name__", "") for node in gm.graph.nodes} & set(NAMES)


@pytest.mark.parametrize(
    "code",
    [lambda x: drop_rows(x, 0.1, False), lambda x: shifted(x, 7), lambda x: torch.cat(halves(x)[::-1], 1)],
    ids=["condition", "sizes", "several results"],
)
def test_their_code_is_quantized(code: Callable[[Tensor], Tensor]) -> None:
    model = Net(code).eval()
    assert not calls_in(trace(model, (X,)))
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X]))
    assert [row for row in explain(quantized).rows if row.precision == "float"] == []
    torch.testing.assert_close(quantized(X), model(X), atol=0.05, rtol=0)


def test_code_that_cannot_be_recorded_stays_a_call() -> None:
    model = Net(lambda x: branching(x)).eval()
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X, -X]))
    assert calls_in(quantized) == {"branching"}
    for x in (X, -X):
        torch.testing.assert_close(quantized(x), model(x), atol=0.1, rtol=0)


def test_one_that_a_mapping_names_stays_a_call() -> None:
    model = Net(lambda x: shifted(x, 7)).eval()
    mapping = get_default_qconfig_mapping().set_object_type(shifted, None)
    quantized = convert_fx(calibrate(prepare_fx(model, mapping, (X,)), [X]))
    assert calls_in(quantized) == {"shifted"}
    assert {row.op for row in explain(quantized).rows if row.precision == "float"} == {"shifted"}


@pytest.mark.parametrize("code", [lambda x: shifted(x, 7), lambda x: failing(x)])
def test_modules_and_torch_fx_are_left_as_they_were(code: Callable[[Tensor], Tensor]) -> None:
    functions, table = {name: globals()[name] for name in NAMES}, dict(_symbolic_trace._wrapped_fns_to_patch)
    with contextlib.suppress(InputError):  # of the one that fails
        trace(Net(code).eval(), (X,))
    assert {name: globals()[name] for name in NAMES} == functions
    assert _symbolic_trace._wrapped_fns_to_patch == table
    assert calls_in(torch.fx.symbolic_trace(Net(lambda x: shifted(x, 7)))) == {"shifted"}
