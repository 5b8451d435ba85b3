from __future__ import annotations

import torch
from torch import Tensor, nn

from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.unused_result = nn.Linear(3, 3)
        self.never_called = nn.Linear(3, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.unused_result(x)
        z = x.size(0)  # noqa: F841
        return self.used(x)


def test_only_what_the_output_needs_is_left() -> None:
    model, x = Net().eval(), torch.randn(2, 3)
    gm = run_stage(trace(model, (x, x)), "normalize")
    assert [node.name for node in gm.graph.nodes] == ["x", "y", "used_weight", "used_bias", "linear", "output"]
    assert list(gm.state_dict()) == ["used.weight", "used.bias"]
    assert torch.equal(gm(x, None), model(x, x))
