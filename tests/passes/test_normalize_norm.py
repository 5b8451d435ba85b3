"""RMS norms written out become the op that they are, and only they."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.demo.metrics import sqnr_db

MEAN_SQUARES: dict[str, Callable[[Tensor], Tensor]] = {
    "pow": lambda x: x.pow(2).mean(-1, keepdim=True),
    "power": lambda x: (x**2).mean(dim=-1, keepdim=True),
    "square": lambda x: torch.square(x).mean(2, True),
}


class Block(nn.Module):
    def __init__(self, mean_square: Callable[[Tensor], Tensor], weight: Tensor | None) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(16, 16), nn.Linear(16, 16)
        self.mean_square = mean_square
        self.weight = None if weight is None else nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y = x * torch.rsqrt(self.mean_square(x) + 1e-6)
        return self.after(y if self.weight is None else self.weight * y)


def ops_of(model: nn.Module, x: Tensor) -> list[str]:
    """Of the nodes in int8; the result is near that of `model`."""
    quantized = convert_fx(
        calibrate(prepare_fx(model.eval(), get_default_qconfig_mapping(), (x,)), [x], progress=False)
    )
    assert sqnr_db(model(x), quantized(x)) > 25
    return [row.op for row in explain(quantized).rows if row.precision == "int8"]


# Rows of very different size, of which one scale for all mean squares would leave little.
X = (
    torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(0))
    * torch.tensor([0.1, 0.3, 1.0, 3.0])[:, None, None]
)


@pytest.mark.parametrize("mean_square", MEAN_SQUARES.values(), ids=MEAN_SQUARES)
@pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 2, 16)], ids=["plain", "weighted"])
def test_it_becomes_one_op(mean_square: Callable[[Tensor], Tensor], weight: Tensor | None) -> None:
    assert ops_of(Block(mean_square, weight), X) == ["Int8Linear", "Int8RmsNorm", "Int8Linear"]


def test_a_mean_along_another_dimension_is_none() -> None:
    assert "Int8RmsNorm" not in ops_of(Block(lambda x: x.pow(2).mean(1, keepdim=True), None), X[2:3])


def test_a_factor_for_every_row_stays_a_product() -> None:
    model = Block(MEAN_SQUARES["pow"], torch.rand(5, 1) + 1)
    assert ops_of(model, X)[1:3] == ["Int8RmsNorm", "Int8Mul"]
