"""What is computed of the shape of floats asks those that they are computed of, so that a program stays whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxquant
from fxquant import QConfigMapping, convert_fx, prepare_fx
from fxquant.errors import InputError
from fxquant.qconfig import per_channel_dynamic_qconfig
from fxquant.runtime.layers.floats import FloatEmbedding
from fxquant.runtime.region import Int8Region


class Masked(nn.Module):
    """An encoder's beginning: the sum of two embeddings is normalized, and a mask has its sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 24), nn.Embedding(40, 24)
        self.norm, self.first, self.second = nn.LayerNorm(24), nn.Linear(24, 24), nn.Linear(24, 24)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1])[None]))
        batch, length = x.shape[0], x.size(1)
        mask = torch.arange(length).ge(3).to(torch.float32).expand(batch, length)[..., None]
        y: Tensor = self.second(self.first(x) + mask.expand(x.size()))
        return y


def converted() -> tuple[nn.Module, Any]:
    model = Masked().eval()
    mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
    return model, convert_fx(prepare_fx(model, mapping, torch.randint(0, 11, (2, 7))))


def test_one_program_for_any_batch_and_length() -> None:
    model, quantized = converted()
    assert sum(isinstance(module, Int8Region) for module in quantized.modules()) == 1
    for shape in ((2, 7), (1, 7), (5, 1), (3, 40)):
        ids = torch.randint(0, 11, shape)
        assert torch.nn.functional.cosine_similarity(quantized(ids).flatten(), model(ids).flatten(), 0) > 0.999
    assert torch.equal(quantized(ids.to(torch.int32)), quantized(ids))
    for odd in (torch.tensor([[3, 11]]), torch.tensor([[-1]]), torch.tensor([[-1]], dtype=torch.int32)):
        with pytest.raises(InputError, match="index out of range"):
            quantized(odd)
    with pytest.raises(InputError, match="index out of range"):
        quantized(torch.zeros(1, 41, dtype=torch.int64))


def test_embeddings_are_a_part_of_it() -> None:
    _, quantized = converted()
    (region,) = (module for module in quantized.modules() if isinstance(module, Int8Region))
    assert sum(isinstance(module, FloatEmbedding) for module in region.modules()) == 2
    assert "words.vectors" in quantized.state_dict()


def test_it_can_be_saved(tmp_path: Path) -> None:
    _, quantized = converted()
    ids = torch.randint(0, 11, (2, 9))
    fxquant.save(quantized, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(ids), quantized(ids))
