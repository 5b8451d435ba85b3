"""Scores of windows: whatever masks and biases are added to them, and wherever a reshape stands, they stay float."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fxquant import calibrate, convert_fx, explain, fuse_fx, get_default_qconfig_mapping, ops, prepare_fx, without
from fxquant.demo.metrics import sqnr_db

WINDOWS, HEADS, LENGTH, SIZE = 4, 2, 6, 8
X = torch.randn(3 * WINDOWS, HEADS, LENGTH, SIZE, generator=torch.Generator().manual_seed(0))
# Of every other window the last half of the keys belongs to another part of the image.
MASK = torch.zeros(WINDOWS, LENGTH, LENGTH)
MASK[::2, :, LENGTH // 2 :] = -100.0


class Windows(nn.Module):
    """Attention whose scores are made of cosines, times a scale, and `shifted`, as in Swin v2, or anything else."""

    def __init__(self, shifted: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.q, self.k, self.v = (nn.Linear(SIZE, SIZE) for _ in range(3))
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.bias = nn.Parameter(torch.linspace(-1, 1, LENGTH * LENGTH).reshape(1, 1, LENGTH, LENGTH))
        self.register_buffer("mask", MASK)
        self.shifted = shifted

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(-2, -1) * self.scale.exp()
        return self.shifted(self, scores) @ self.v(x)


def once(m: nn.Module, scores: Tensor) -> Tensor:
    scores = (scores + m.bias).view(-1, WINDOWS, HEADS, LENGTH, LENGTH) + m.mask.unsqueeze(1).unsqueeze(0)
    return scores.view(-1, HEADS, LENGTH, LENGTH).softmax(-1)


def twice(m: nn.Module, scores: Tensor) -> Tensor:
    scores = scores.view(-1, WINDOWS, HEADS, LENGTH, LENGTH) + m.mask.unsqueeze(1).unsqueeze(0)
    scores = scores + m.mask.unsqueeze(1).unsqueeze(0)
    return scores.view(-1, HEADS, LENGTH, LENGTH).softmax(-1)


def subtracted(m: nn.Module, scores: Tensor) -> Tensor:
    scores = scores.view(-1, WINDOWS, HEADS, LENGTH, LENGTH) - -m.mask.unsqueeze(1).unsqueeze(0)
    scores = scores - m.bias
    return scores.view(-1, HEADS, LENGTH, LENGTH).softmax(-1)


def not_at_all(m: nn.Module, scores: Tensor) -> Tensor:
    return (scores + m.bias).softmax(-1)


@pytest.mark.parametrize("shifted", [once, twice, subtracted, not_at_all])
def test_no_mask_is_rounded_with_the_scores(shifted: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model = Windows(shifted).eval()
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X], progress=False)
    quantized = convert_fx(prepared)
    added = [node for node in fuse_fx(model, example_inputs=(X,)).graph.nodes if node.target is ops.add]
    assert len(added) == (1 if shifted is once else 0)  # the bias is no mask where windows are apart
    assert "Int8Softmax" in [row.op for row in explain(quantized).rows]
    as_it_is = [without("normalize_attention")]
    rounded = convert_fx(
        calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,), passes=as_it_is), [X], progress=False)
    )
    assert sqnr_db(model(X), quantized(X)) > sqnr_db(model(X), rounded(X)) + 1
    assert sqnr_db(model(X[:WINDOWS]), quantized(X[:WINDOWS])) > 20


@pytest.mark.parametrize(
    "shifted",
    [
        lambda m, scores: (scores + scores.flip(-1)).softmax(-1),
        lambda m, scores: (scores[:, :1] + m.bias.expand(-1, HEADS, -1, -1)).softmax(-1),
        lambda m, scores: (scores + 2.0).softmax(-1),
        lambda m, scores: (scores - 2.0).softmax(-1),
        lambda m, scores: (scores - scores.amax(-1, keepdim=True)).softmax(-1),
        lambda m, scores: (m.mask[0] - scores).softmax(-1),
        lambda m, scores: (scores + m.mask[0]).view(-1, HEADS, LENGTH * LENGTH).softmax(-1).view_as(scores),
        lambda m, scores: (scores + (m.mask[0] < 0)).softmax(-1),
    ],
    ids=[
        "another activation",
        "larger than the scores",
        "a number",
        "a number less",
        "of the scores",
        "the scores subtracted",
        "rows that the reshape joins",
        "not of float32",
    ],
)
def test_what_is_no_mask_is_added_as_before(shifted: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model = Windows(shifted).eval()
    traced = fuse_fx(model, example_inputs=(X,))
    assert all(node.args[2] is None for node in traced.graph.nodes if node.target is ops.softmax)
    torch.testing.assert_close(traced(X), model(X))
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X], progress=False))
    assert sqnr_db(model(X), quantized(X)) > 10


class Distances(nn.Module):
    """Attention to `kept` [L] of the keys, the scores of the others lowered by 1e4: the mask is an input."""

    def __init__(self, lowered: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.q, self.k, self.v = (nn.Linear(SIZE, SIZE) for _ in range(3))
        self.lowered = lowered

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        return self.lowered(self.q(x) @ self.k(x).mT, kept).softmax(-1) @ self.v(x)


def in_place(scores: Tensor, kept: Tensor) -> Tensor:
    scores -= (1.0 - kept) * 1e4
    return scores


@pytest.mark.parametrize(
    "lowered",
    [
        lambda scores, kept: scores - (1.0 - kept) * 1e4,
        lambda scores, kept: torch.sub(scores, 1.0 - kept, alpha=1e4),
        lambda scores, kept: (scores - (1.0 - kept) * 5e3).sub((1.0 - kept) * 5e3),
        in_place,
    ],
    ids=["minus", "sub with a factor", "twice", "in place"],
)
def test_a_mask_that_is_subtracted_is_one_that_is_added(lowered: Callable[[Tensor, Tensor], Tensor]) -> None:
    model, kept = Distances(lowered).eval(), (torch.arange(LENGTH) < LENGTH - 2).float()
    inputs = (X, kept)
    torch.testing.assert_close(fuse_fx(model, example_inputs=inputs)(*inputs), model(*inputs))
    quantized = convert_fx(
        calibrate(prepare_fx(model, get_default_qconfig_mapping(), inputs), [inputs], progress=False)
    )
    assert "Int8Attention" in [row.op for row in explain(quantized).rows]
    assert sqnr_db(model(*inputs), quantized(*inputs)) > 30
