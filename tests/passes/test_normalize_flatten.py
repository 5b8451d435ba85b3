from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fxquant import ops
from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace


class Written(nn.Module):
    def __init__(self, code: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x)


def calls(code: Callable[[Tensor], Tensor], x: Tensor) -> list[object]:
    gm = run_stage(trace(Written(code).eval(), x), "normalize")
    assert torch.equal(gm(x), code(x))
    return [node.target for node in gm.graph.nodes if node.op.startswith("call_")]


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view((x.size()[0], -1)),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: torch.reshape(x, [x.size(dim=0), -1]),
    ],
)
def test_no_size_is_left(code: Callable[[Tensor], Tensor]) -> None:
    assert calls(code, torch.randn(2, 3, 4)) == [ops.flatten]


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x.view(x.size(1), -1),
        lambda x: x.view(-1, x.size(0)),
        lambda x: x.view(x.size(0), -1, 2),
        lambda x: x.view((x * 2).size(0), -1),
        lambda x: x.view(2, -1),
    ],
)
def test_other_reshapes_stay(code: Callable[[Tensor], Tensor]) -> None:
    assert ops.reshape in calls(code, torch.randn(2, 3, 4))
