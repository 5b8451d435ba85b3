"""Floats between dynamic layers: one native program has them all, and computes what torch does."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import QConfigMapping, convert_fx, explain, prepare_fx
from fxquant.errors import InputError
from fxquant.qconfig import QConfig, per_channel_dynamic_qconfig, per_channel_weight_only_qconfig
from fxquant.runtime.region import Int8Region


class Block(nn.Module):
    """A layer of an encoder, with what is asked about shapes in between."""

    def __init__(self, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.up, self.down = nn.Linear(24, 48), nn.Linear(48, 24)
        self.before, self.after = nn.LayerNorm(24), nn.LayerNorm(24, elementwise_affine=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        given = self.before(x) if self.first else x
        q, k, v = self.qkv(given).unflatten(2, (3, 4, 6)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, mask[:, None, None]).transpose(1, 2)
        x = x + self.out(y.reshape(x.shape[0], x.shape[1], 24))
        x = x if self.first else self.before(x)
        z: Tensor = self.after(x + self.down(F.gelu(self.up(x))))
        return z


class Encoder(nn.Module):
    def __init__(self, first: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(first) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


def inputs(batch: int = 2, length: int = 17) -> tuple[Tensor, Tensor]:
    mask = torch.rand(batch, length) < 0.8
    mask[:, 0] = True
    return torch.randn(batch, length, 24), mask


def converted(model: nn.Module, *x: Tensor, qconfig: QConfig = per_channel_dynamic_qconfig) -> Any:
    mapping = QConfigMapping().set_global(qconfig)
    return convert_fx(prepare_fx(model.eval(), mapping, x))


def regions(model: nn.Module) -> list[Int8Region]:
    return [module for module in model.modules() if isinstance(module, Int8Region)]


@pytest.mark.parametrize("first", [False, True])
def test_an_encoder_is_one_program(first: bool) -> None:
    model = Encoder(first)
    quantized = converted(model, *inputs())
    assert len(regions(quantized)) == 1
    for shape in ((2, 17), (1, 5), (3, 40)):
        x = inputs(*shape)
        torch.testing.assert_close(quantized(*x), model(*x), rtol=0, atol=0.15)
    kinds = {row.op for row in explain(quantized).rows if row.precision == "float"}
    assert {kind for kind in kinds if kind.startswith("Float")} == {"FloatLayerNorm"}
    assert [row.precision for row in explain(quantized).rows if row.op == "DynamicAttention"] == ["dynamic"] * 2


def test_an_encoder_whose_weights_alone_are_integers_is_one_program() -> None:
    model, x = Encoder(), inputs()
    quantized = converted(model, *x, qconfig=per_channel_weight_only_qconfig)
    assert len(regions(quantized)) == 1
    torch.testing.assert_close(quantized(*x), model(*x), rtol=0, atol=0.05)
    assert {row.precision for row in explain(quantized).rows} == {"weight-only", "float"}


def test_attention_may_stay_float() -> None:
    model, x = Encoder(), inputs()
    mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
    mapping.set_object_type(F.scaled_dot_product_attention, None)
    quantized = convert_fx(prepare_fx(model.eval(), mapping, x))
    assert len(regions(quantized)) == 1
    assert [row.precision for row in explain(quantized).rows if row.op == "FloatAttention"] == ["float"] * 2


def test_the_program_computes_what_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    quantized, x = converted(Encoder(), *inputs()), inputs()
    found = quantized(*x)
    monkeypatch.setattr("fxquant.runtime.region.watched", lambda: True)
    assert torch.equal(quantized(*x), found)


def test_exported_and_compiled() -> None:
    quantized, x = converted(Encoder(), *inputs()), inputs()
    exported: Any = torch.export.export(quantized, x)
    assert torch.equal(exported.module()(*x), quantized(*x))
    assert torch.equal(torch.compile(quantized, backend="eager")(*x), quantized(*x))


def test_threads_agree() -> None:
    quantized, x = converted(Encoder(), *inputs()), inputs(4, 70)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(quantized(*x))
        assert torch.equal(*results)
    finally:
        torch.set_num_threads(before)


def test_saved_and_loaded(tmp_path: Any) -> None:
    quantized, x = converted(Encoder(), *inputs()), inputs()
    fxquant.save(quantized, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(*x), quantized(*x))
    other = converted(Encoder(), *inputs())
    buffer = io.BytesIO()
    torch.save(quantized.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(*x), quantized(*x))


def test_what_has_no_kernel_stays_torch() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = F.mish(self.a(x)) + 1.0
            z: Tensor = self.b(y) + torch.arange(8)
            return z

    model, x = Odd(), torch.randn(3, 8)
    quantized = converted(model, x)
    assert not [row for row in explain(quantized).rows if row.op.startswith("Float")]
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.1)


def test_floats_away_from_dynamic_layers_stay_torch() -> None:
    model, x = nn.Sequential(nn.LayerNorm(8), nn.Sigmoid(), nn.Linear(8, 8)), torch.randn(3, 8)
    assert "FloatLayerNorm" not in {row.op for row in explain(converted(model, x)).rows}


class Moved(nn.Module):
    """Data movement of floats between layers: views, copies, and what a program cannot have."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(10, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y = torch.cat([y.flip(1), F.gelu(y)[:, :1], y.roll(1, 1)], 1)
        z: Tensor = self.b(F.pad(F.pad(y, (1, 0)), (0, 1), value=2.0))
        return z + F.pad(z[:, None], (0, 0, 2, 2), "reflect")[:, 0, 4:]


def test_floats_move_as_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Moved(), torch.randn(2, 5, 8)
    quantized = converted(model, x)
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.15)
    found = quantized(x)
    monkeypatch.setattr("fxquant.runtime.region.watched", lambda: True)
    assert torch.equal(quantized(x), found)


def test_another_dtype_is_refused() -> None:
    model, x = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), torch.randn(3, 8)
    with pytest.raises(InputError, match="float32"):
        converted(model, x)(x.double())


class Gated(nn.Module):
    """The feed-forward part of Llama: a gate beside what it lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)
        self.norm = nn.RMSNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(x)
        y: Tensor = x + self.down(F.silu(self.gate(z)) * self.up(z))
        return y


@pytest.mark.parametrize(
    ("qconfig", "alone"),
    [
        (per_channel_dynamic_qconfig, ["FloatRmsNorm", "FloatMul"]),
        (per_channel_weight_only_qconfig, ["FloatRmsNorm", "FloatSilu", "FloatMul", "FloatAdd"]),
    ],
)
def test_a_gated_part_is_one_program(qconfig: QConfig, alone: list[str]) -> None:
    model, x = Gated().eval(), torch.randn(2, 9, 32)
    quantized = converted(model, x, qconfig=qconfig)
    assert len(regions(quantized)) == 1
    assert [row.op for row in explain(quantized).rows if row.precision == "float"] == alone
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.05)


def test_other_products_of_activations_stay_as_they_are() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.a(x) * self.b(x)
            return y

    quantized = converted(Scaled().eval(), torch.randn(2, 32))
    assert "mul" in [row.op for row in explain(quantized).rows]
