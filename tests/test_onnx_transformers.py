"""export_onnx of networks as transformers has them: masks, positions and caches go along, and the batch stays free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_models import run
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import fxquant
from fxquant import QConfigMapping, get_default_qconfig_mapping, per_channel_dynamic_qconfig
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import UnsupportedError
from fxquant.qconfig import per_channel_weight_only_qconfig

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BERT = {**SMALL, "vocab_size": 50, "max_position_embeddings": 32}
LLAMA = {**BERT, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {
    "vocab_size": 50,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {"vocab_size": 50, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4}


def text(batch: int) -> dict[str, Tensor]:
    mask = torch.ones(batch, 12, dtype=torch.int64)
    mask[-1, 9:] = 0
    return {"input_ids": torch.randint(3, 50, (batch, 12)), "attention_mask": mask}


def tokens(batch: int) -> dict[str, Tensor]:
    return {"input_ids": text(batch)["input_ids"]}


def images(batch: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(batch, 3, 32, 32)}


def spectra(batch: int) -> dict[str, Tensor]:
    return {"input_features": torch.randn(batch, 8, 32), "decoder_input_ids": torch.randint(3, 50, (batch, 6))}


WHISPER = {
    **{f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 1), ("attention_heads", 2))},
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "d_model": 32,
    "vocab_size": 50,
    "num_mel_bins": 8,
    "max_source_positions": 16,
    "max_target_positions": 16,
    "pad_token_id": 0,
    "decoder_start_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
NETWORKS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "BertModel": ("BertConfig", BERT, text),
    "RobertaModel": ("RobertaConfig", BERT, text),
    "DistilBertModel": ("DistilBertConfig", {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 2}, text),
    "T5EncoderModel": ("T5Config", T5, text),
    "GPT2LMHeadModel": ("GPT2Config", GPT2, text),
    "LlamaForCausalLM": ("LlamaConfig", LLAMA, text),
    "MistralForCausalLM": ("MistralConfig", LLAMA, text),
    "Qwen2ForCausalLM": ("Qwen2Config", {**LLAMA, "use_cache": False}, tokens),
    "ViTModel": ("ViTConfig", {**SMALL, "image_size": 32, "patch_size": 8}, images),
    "SwinModel": ("SwinConfig", SWIN, images),
    "WhisperModel": ("WhisperConfig", WHISPER, spectra),
}
MAPPINGS = {
    "dynamic": QConfigMapping().set_global(per_channel_dynamic_qconfig),
    "weights alone": QConfigMapping().set_global(per_channel_weight_only_qconfig),
    "static": get_default_qconfig_mapping(),
}


def network(name: str) -> tuple[nn.Module, Any]:
    transformers = pytest.importorskip("transformers")
    config, settings, inputs = NETWORKS[name]
    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, config)(**settings)).eval(), inputs


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MAPPINGS)
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_onnx_runtime_computes_a_network_of_any_batch(name: str, kind: str, tmp_path: Path) -> None:
    model, inputs = network(name)
    example = inputs(2)
    prepared: Any = fxquant.prepare_fx(model, MAPPINGS[kind], example)
    prepared(**example)
    quantized: Any = fxquant.convert_fx(prepared)
    fxquant.export_onnx(quantized, tmp_path / "model.onnx")
    for each in (example, inputs(3)):
        found, expected = run(tmp_path / "model.onnx", each), tensors(quantized(**each))
        assert found[0].shape == expected[0].shape
        assert sqnr_db(expected[0], found[0]) > 25


class Speaker(nn.Module):
    """Resemblyzer: the last state of an LSTM, through a linear layer, of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(8, 16, 2, batch_first=True), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(x)
        raw = F.relu(self.linear(hidden[-1]))
        y: Tensor = raw / torch.norm(raw, dim=1, keepdim=True)
        return y


class Listener(nn.Module):
    """Convolutions of a wave, then an LSTM; what torch computes around them is arithmetic of several dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.lstm = nn.Conv1d(1, 8, 5, stride=2), nn.LSTM(8, 16, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        y = self.front(F.pad(x, (4, 0)).unsqueeze(1)).relu().transpose(1, 2)
        kept = torch.arange(y.shape[1])[None] < (lengths // 2)[:, None]
        y = self.lstm(torch.where(kept[..., None], y, 0.0))[0]
        mean = y.sum(1) / kept.sum(1, keepdim=True).clamp(min=1)
        return F.normalize(mean, dim=-1), y.argmax(-1), kept.float().cumsum(1)


def assert_exported(model: nn.Module, path: Path, least: float, *inputs: Tensor) -> None:
    prepared: Any = fxquant.prepare_fx(model.eval(), MAPPINGS["dynamic"], inputs)
    quantized: Any = fxquant.convert_fx(prepared)
    fxquant.export_onnx(quantized, path / "model.onnx")
    more = [torch.cat([x, x.flip(0)]) for x in inputs]
    names = [node.name for node in quantized.graph.nodes if node.op == "placeholder"]
    results = run(path / "model.onnx", dict(zip(names, more, strict=True)))
    for found, expected in zip(results, tensors(quantized(*more)), strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert not expected.is_floating_point() or sqnr_db(expected, found) > least


@torch.no_grad()
def test_speech(tmp_path: Path) -> None:
    assert_exported(Speaker(), tmp_path, 25, torch.randn(2, 20, 8))
    assert_exported(Listener(), tmp_path, 25, torch.randn(2, 40), torch.tensor([40, 22]))


class OfSizes(nn.Module):
    """What follows from sizes: positions, rows for each example, rows of one example repeated, and a range."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.table = nn.Linear(4, 4), nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Any:
        n, length, width = x.shape
        positions = torch.arange(length, device=x.device)[None].expand(n, -1)
        repeated = self.table.repeat(n, 1).view(n, 3, 4)
        y = self.line(x) + positions[..., None]
        picked = y[torch.arange(n)[:, None], torch.arange(length - 1)[None]]
        return picked.reshape(n * (length - 1), width), repeated, y.new_ones(n, 2) * torch.arange(n)[:, None]


@torch.no_grad()
def test_what_follows_from_sizes_follows_the_batch(tmp_path: Path) -> None:
    assert_exported(OfSizes(), tmp_path, 50, torch.randn(2, 3, 4))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.line(x) / x.shape[0]
        return y


def test_a_number_that_follows_the_batch_is_refused(tmp_path: Path) -> None:
    model: Any = fxquant.convert_fx(fxquant.prepare_fx(Counted().eval(), MAPPINGS["dynamic"], (torch.randn(2, 4),)))
    with pytest.raises(UnsupportedError, match="a number that follows the size of the batch"):
        fxquant.export_onnx(model, tmp_path / "model.onnx")
