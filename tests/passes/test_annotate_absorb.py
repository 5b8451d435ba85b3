from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import Written, annotated
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.graph.annotation import quant_of


def absorbed(code: Callable[..., Tensor], batch: int = 2, **modules: nn.Module) -> dict[str, str]:
    """Which node's epilogue computes which."""
    convs = {"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 1)}
    gm = annotated(Written(code, **convs, **modules), torch.randn(batch, 4, 6, 6), "annotate_absorb")
    return {node.name: quant_of(node).absorbed_by for node in gm.graph.nodes if quant_of(node).absorbed_by}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (lambda m, x: F.relu(m.a(x)), {"conv2d": "relu"}),
        (lambda m, x: F.relu6(m.a(x)), {"conv2d": "clamp"}),
        (lambda m, x: F.relu6(F.relu(m.a(x))), {"conv2d": "relu", "relu": "clamp"}),
        (lambda m, x: F.relu(x * m.a(x)), {"mul": "relu"}),
        (lambda m, x: m.a(x) + x, {"conv2d": "add"}),
        (lambda m, x: F.relu(x + m.a(x)), {"conv2d": "add", "add": "relu"}),
        (lambda m, x: m.b(x) + m.a(x), {"conv2d_1": "add"}),
    ],
)
def test_the_epilogue_computes_on(code: Callable[..., Tensor], expected: dict[str, str]) -> None:
    assert absorbed(code) == expected


def _twice(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return F.relu(y) * y


@pytest.mark.parametrize(
    "code",
    [
        _twice,
        lambda m, x: F.relu(F.max_pool2d(x, 2)),
        lambda m, x: F.silu(m.a(x)),
        lambda m, x: (lambda y: y + y)(m.a(x)),
        lambda m, x: m.a(x) + x.mean((2, 3), keepdim=True),
        lambda m, x: m.a(x) + 1.0,
        lambda m, x: m.a(x) * x,
    ],
)
def test_what_is_not_the_epilogues_business(code: Callable[..., Tensor]) -> None:
    assert absorbed(code) == {}


class Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 4, 36))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table.view(1, 4, 6, 6)


def test_a_parameter_that_only_looks_like_a_residual_keeps_its_own_batch_size() -> None:
    assert absorbed(lambda m, x: m.position(m.a(x)), batch=1, position=Position()) == {}


def test_such_a_parameter_serves_any_batch() -> None:
    model = Written(lambda m, x: m.position(m.a(x)), a=nn.Conv2d(4, 4, 1), position=Position())
    x = torch.randn(1, 4, 6, 6)
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    torch.testing.assert_close(quantized(x), model(x), atol=0.05, rtol=0)
    assert torch.equal(quantized(torch.cat([x, x, x])), torch.cat([quantized(x)] * 3))
