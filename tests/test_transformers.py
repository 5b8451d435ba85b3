"""Transformers, however they are written: they run in int8 from end to end, and stay close to float."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import (
    QConfigMapping,
    calibrate,
    convert_fx,
    explain,
    get_default_qconfig_mapping,
    per_channel_dynamic_qconfig,
    prepare_fx,
)
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import InputError
from fxquant.qconfig import per_channel_weight_only_qconfig
from fxquant.runtime.region import Int8Region

BATCH, LENGTH, WIDTH, HEADS = 2, 13, 48, 4


class Attention(nn.Module):
    """The usual attention over heads; `attend` computes it of query, key and value."""

    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.attend = attend

    def forward(self, x: Tensor, *masks: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        y: Tensor = self.out(self.attend(q, k, v, *masks).transpose(1, 2).reshape(b, n, c))
        return y


class Block(nn.Module):
    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention(attend)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, *masks: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), *masks)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


def scaled_left(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


def scaled_product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q, k.mT) / math.sqrt(q.size(-1))
    return torch.matmul(F.dropout(F.softmax(scores, dim=-1), 0.1, False), v)


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * 0.3
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(dim=3), v)


def masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT * 0.3 + (1.0 - mask[:, None, None, :]) * -10000.0).softmax(-1) @ v


def filled(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT * 0.3).masked_fill(mask[:, None, None, :] == 0, float("-inf"))
    return scores.softmax(-1) @ v


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :] > 0)


ATTENTIONS = {
    "q * c": (scaled_left, False),
    "/ sqrt": (scaled_product, False),
    "einsum": (by_einsum, False),
    "+ mask": (masked, True),
    "masked_fill": (filled, True),
    "sdpa": (F.scaled_dot_product_attention, False),
    "sdpa causal": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), False),
    "sdpa mask": (fused, True),
}


def inputs(with_mask: bool) -> tuple[Tensor, ...]:
    mask = (torch.arange(LENGTH) < torch.randint(5, LENGTH + 1, (BATCH, 1))).float()
    return (torch.randn(BATCH, LENGTH, WIDTH), mask)[: 1 + with_mask]


def converted(model: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Any, float]:
    """The int8 model, checked against its own plain-torch graph; and its SQNR in dB."""
    model.eval()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), make())
    calibrate(prepared, [make() for _ in range(8)], progress=False)
    quantized = convert_fx(prepared)
    x = make()
    with torch.no_grad():
        return quantized, sqnr_db(model(*x), quantized(*x))


def regions(model: nn.Module) -> list[Int8Region]:
    return [m for m in model.modules() if isinstance(m, Int8Region)]


def ops_of(model: Any) -> list[str]:
    return [row.op for row in explain(model).rows]


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_block_is_one_region_with_a_fused_attention(name: str) -> None:
    attend, with_mask = ATTENTIONS[name]
    quantized, sqnr = converted(Block(attend), lambda: inputs(with_mask))
    assert "Int8Attention" in ops_of(quantized)
    assert not {"Int8Softmax", "Int8Matmul"} & set(ops_of(quantized))
    assert with_mask or not explain(quantized).float_rows
    assert {row.op for row in explain(quantized).float_rows} <= {"getitem", "sub", "mul", "eq", "gt", "where"}
    assert len(regions(quantized)) == 1
    assert sqnr > 28


class FilledBias(nn.Module):
    """T5: what is added to the scores is learned, and has the mask in it."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.bias = nn.Linear(WIDTH, LENGTH), nn.Linear(WIDTH, LENGTH)
        self.register_buffer("later", torch.ones(LENGTH, LENGTH).triu(1).bool())

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias(x).masked_fill(self.later, torch.finfo(torch.float32).min)
        return (self.scores(x) + bias).softmax(-1)


def test_a_bias_that_a_mask_fills_has_no_scale() -> None:
    quantized, sqnr = converted(FilledBias(), lambda: inputs(False))
    reasons = {row.op: row.reason for row in explain(quantized).float_rows}
    assert "such as the -inf of a mask" in reasons["masked_fill"]
    assert sqnr > 28


@pytest.mark.slow
def test_programs_compute_what_nodes_do(threads: int) -> None:
    quantized, _ = converted(Block(masked), lambda: inputs(True))
    x, mask = inputs(True)
    (region,) = regions(quantized)
    seen: list[Any] = []
    handle = region.register_forward_hook(lambda m, args, y: seen.append((args, y)))
    quantized(x, mask)
    handle.remove()
    ((args, y),) = seen
    assert torch.equal(y, region.node_by_node(*args))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_encoder(norm_first: bool, batch_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 96, activation="gelu", norm_first=norm_first, batch_first=batch_first
    )
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    quantized, sqnr = converted(encoder, lambda: inputs(False))
    assert not explain(quantized).float_rows
    assert ops_of(quantized).count("Int8Attention") == 2
    assert len(regions(quantized)) == 1
    assert sqnr > 25
    assert {"layers.0.linear1", "layers.1.self_attn"} <= {row.place.split(" ")[0] for row in explain(quantized).rows}


def test_transformer_encoder_with_masks() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(WIDTH, HEADS, 96, batch_first=True), 2, enable_nested_tensor=False
            )

        def forward(self, x: Tensor, padding: Tensor) -> Tensor:
            causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
            y: Tensor = self.layers(x, mask=causal, src_key_padding_mask=padding > 1)
            return y

    quantized, sqnr = converted(Encoder(), lambda: inputs(True))
    assert ops_of(quantized).count("Int8Attention") == 2
    assert sqnr > 25


def test_transformer_decoder_layer() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 96, batch_first=True)

        def forward(self, x: Tensor, memory: Tensor) -> Tensor:
            y: Tensor = self.layer(x, memory)
            return y

    quantized, sqnr = converted(Decoder(), lambda: (torch.randn(2, 9, WIDTH), torch.randn(2, 13, WIDTH)))
    assert not explain(quantized).float_rows
    assert ops_of(quantized).count("Int8Attention") == 2
    assert sqnr > 25


@pytest.mark.parametrize("settings", [{}, {"batch_first": True}, {"bias": False}, {"kdim": 20, "vdim": 24}])
def test_multihead_attention(settings: dict[str, Any]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, **settings)

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            y: Tensor = self.attention(q, k, v, need_weights=False)[0]
            return y

    widths = (WIDTH, settings.get("kdim", WIDTH), settings.get("vdim", WIDTH))
    quantized, sqnr = converted(Model(), lambda: tuple(torch.randn(7, 7, width) for width in widths))
    assert not explain(quantized).float_rows
    assert "Int8Attention" in ops_of(quantized)
    assert sqnr > 25


@pytest.mark.parametrize("settings", [{"need_weights": False}, {}])
def test_what_is_taken_out_and_never_read_does_not_matter(settings: dict[str, Any]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y, _ = self.attention(x, x, x, **settings)
            return torch.relu(y)

    quantized, sqnr = converted(Model(), lambda: inputs(False))
    assert not explain(quantized).float_rows
    assert "Int8Attention" in ops_of(quantized)
    assert sqnr > 25


def test_attention_weights_are_averaged_over_heads() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y, weights = self.attention(x, x, x)
            return torch.cat([y, weights], 2)

    _, sqnr = converted(Model(), lambda: inputs(False))
    assert sqnr > 20


@pytest.mark.parametrize("unsupported", [{"add_zero_attn": True}, {"add_bias_kv": True}])
def test_what_stays_float_says_why(unsupported: dict[str, bool]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, **unsupported)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.attention(x, x, x, need_weights=False)[0]
            return y

    quantized, sqnr = converted(Model(), lambda: inputs(False))
    assert "add_bias_kv and add_zero_attn are not in the op table" in explain(quantized).float_rows[0].reason
    assert sqnr > 100


class Encoder(nn.Module):
    """Token and position embeddings, a block, and a head on the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(100, WIDTH), nn.Embedding(32, WIDTH)
        self.norm, self.block, self.head = nn.LayerNorm(WIDTH), Block(masked), nn.Linear(WIDTH, 10)
        self.register_buffer("ids", torch.arange(LENGTH))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.word(ids) + self.position(self.ids))
        y: Tensor = self.head(self.block(x, mask)[:, 0])
        return y


def tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 100, (BATCH, LENGTH)), inputs(True)[1]


def test_embeddings_are_rows_of_codes() -> None:
    quantized, sqnr = converted(Encoder(), tokens)
    assert ops_of(quantized).count("Int8Embedding") == 2
    assert quantized.word.rows.dtype is torch.uint8
    assert len(regions(quantized)) == 1
    assert sqnr > 25
    for ids in (torch.full((BATCH, LENGTH), 100), torch.full((BATCH, LENGTH), -1)):
        with pytest.raises(InputError, match=r"an embedding of 100 rows takes indices in 0\.\.99"):
            quantized(ids, inputs(True)[1])
    with pytest.raises(InputError, match="indices in int64 or int32"):
        quantized(torch.zeros(BATCH, LENGTH), inputs(True)[1])


def test_a_finished_encoder_round_trips() -> None:
    quantized, _ = converted(Encoder(), tokens)
    other = convert_fx(
        calibrate(prepare_fx(Encoder().eval(), get_default_qconfig_mapping(), tokens()), [tokens()], progress=False)
    )
    x = tokens()
    assert not torch.equal(other(*x), quantized(*x))
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(*x), quantized(*x))


def test_other_lengths_and_batches() -> None:
    quantized, _ = converted(Block(F.scaled_dot_product_attention), lambda: inputs(False))
    for shape in ((1, 1, WIDTH), (3, 40, WIDTH), (0, 5, WIDTH)):
        x = torch.randn(shape)
        y = quantized(x)
        assert y.shape == shape
        if x.numel():
            (region,) = regions(quantized)
            assert torch.equal(y, region.node_by_node(x))


class Shared(nn.Module):
    """Attention whose mask torch itself takes in float32 or bool alone."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, mask)


@pytest.mark.parametrize(
    "mapping",
    [
        get_default_qconfig_mapping(),
        QConfigMapping().set_global(per_channel_dynamic_qconfig),
        QConfigMapping().set_global(per_channel_weight_only_qconfig),
    ],
    ids=["static", "dynamic", "weights alone"],
)
@torch.no_grad()
def test_a_mask_may_be_of_16_bit_floats(mapping: QConfigMapping) -> None:
    x, mask = torch.randn(BATCH, LENGTH, WIDTH), torch.zeros(LENGTH, LENGTH)
    mask[:, 9:] = -torch.inf
    prepared = prepare_fx(Shared().eval(), mapping, (x, mask))
    prepared(x, mask)
    quantized = convert_fx(prepared)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(quantized(x, mask.to(dtype)), quantized(x, mask))
    with pytest.raises(InputError, match=r"at most 32 bits, not torch\.float64"):
        quantized(x, mask.double())
