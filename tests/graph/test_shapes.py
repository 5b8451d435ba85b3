"""Numbers that shapes alone decide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor
from torch.fx import Node

from fxquant.graph.shapes import Unknown, asks_shape, number_of
from fxquant.graph.trace import trace


def last_number(code: Any, x: Tensor) -> Node:
    """The node that the graph's last op reads beside its tensor."""
    gm = trace(Written(code), (x,))
    *_, last = (node for node in gm.graph.nodes if node.op != "output")
    number: Node = last.args[1]
    return number


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (lambda m, x: x.reshape(x.size(0), -1), 2),
        (lambda m, x: x.reshape(x.shape[1] * x.dim(), -1), 12),
        (lambda m, x: x.reshape(x.transpose(0, 1).shape[0], -1), 4),
    ],
)
def test_a_number_computed_from_shapes(code: Any, number: int) -> None:
    assert number_of(last_number(code, torch.rand(2, 4, 6))) == number


def test_a_number_computed_from_values_is_unknown() -> None:
    with pytest.raises(Unknown):
        number_of(last_number(lambda m, x: x.reshape(x.isnan().sum().item() + 2, -1), torch.rand(2, 4)))


def test_what_reads_a_shape_only() -> None:
    gm = trace(Written(lambda m, x: (x.size(0), x.shape, x.sum().item())), (torch.rand(2),))
    assert {str(node.target) for node in gm.graph.nodes if asks_shape(node)} == {"size", str(getattr)}
