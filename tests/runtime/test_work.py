"""Multiply-adds, as torch counts them."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fxquant.runtime.work import multiply_adds


def test_convolutions_and_linears_multiply_for_every_output() -> None:
    x, weight = torch.randn(2, 6, 5, 7), torch.randn(4, 3, 3, 2)
    with FlopCounterMode(display=False) as calls:
        y = F.conv2d(x, weight, stride=2, groups=2)
        z = F.linear(x, torch.randn(9, 7))
    assert 2 * (multiply_adds(weight, y) + multiply_adds(torch.randn(9, 7), z)) == calls.get_total_flops()


def test_a_transposed_convolution_multiplies_every_input() -> None:
    x, weight = torch.randn(1, 3, 5, 5), torch.randn(3, 4, 2, 2)
    with FlopCounterMode(display=False) as calls:
        F.conv_transpose2d(x, weight, stride=2)
    assert 2 * multiply_adds(weight, x) == calls.get_total_flops()
