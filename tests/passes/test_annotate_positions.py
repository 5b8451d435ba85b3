from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, ops, prepare_fx
from fxquant.analysis.measures import sqnr_db
from fxquant.graph.annotation import quant_of

X = torch.randn(2, 300, 32)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def rotary(m: Any, x: Tensor) -> Tensor:
    angles = torch.arange(x.shape[1]).float()[:, None] * m.frequencies
    angles = torch.cat([angles, angles], -1)
    q, k = (rotated(layer(x), angles.cos(), angles.sin()) for layer in (m.q, m.k))
    y: Tensor = (q @ k.mT / 32**0.5).softmax(-1) @ m.v(x)
    return y


def by_distance(m: Any, x: Tensor) -> Tensor:
    at = torch.arange(x.size(1)).float()
    y: Tensor = (m.q(x) @ m.k(x).mT / 32**0.5 + -0.25 * (at[:, None] - at).abs()).softmax(-1) @ m.v(x)
    return y


@pytest.mark.parametrize("code", [rotary, by_distance])
def test_angles_and_distances_are_exact(code: Any) -> None:
    torch.manual_seed(0)
    model = Written(code, **{name: nn.Linear(32, 32) for name in "qkv"})
    model.register_buffer("frequencies", 10000.0 ** -(torch.arange(0, 32, 2) / 32))
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X], progress=False)
    quantized = convert_fx(prepared)
    assert sqnr_db(model(X), quantized(X)) > 33
    assert any("no activation is in it" in row.reason for row in explain(quantized).float_rows)


def decision(code: Any, x: Tensor, op: Any, **modules: nn.Module) -> bool:
    model = Written(code, **modules)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    return quant_of(next(n for n in prepared.graph.nodes if n.target is op)).int8


def test_what_activations_and_layers_make_runs_in_int8() -> None:
    rows, linear, indices = nn.Embedding(8, 4), nn.Linear(4, 4), torch.randint(0, 7, (2, 3))
    assert decision(lambda m, i: m.rows(i) * m.rows(i + 1), indices, ops.mul, rows=rows)
    assert decision(lambda m, x: m.fc(x) * torch.arange(x.shape[1]).float(), torch.randn(3, 4), ops.mul, fc=linear)
    assert decision(lambda m, x: x * torch.arange(x.shape[1]).float(), torch.rand(2, 4), ops.mul)
    assert not decision(
        lambda m, x: m.fc(x) + torch.arange(x.shape[1]).float() * 0.5, torch.randn(3, 4), ops.mul, fc=linear
    )
