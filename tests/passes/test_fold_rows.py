"""Embeddings whose rows are integers: what a finished model computes, weighs and says."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxquant
from fxquant import QConfigMapping, convert_fx, explain, get_default_qconfig_mapping, prepare_fx, prepare_qat_fx
from fxquant.errors import InputError
from fxquant.qconfig import (
    default_embedding_qat_qconfig,
    default_embedding_qat_qconfig_4bit,
    default_qconfig,
    default_weight_only_qconfig,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
)

IDS, OFFSETS = torch.tensor([3, 9, 9, 0, 49, 7]), torch.tensor([0, 2, 2, 5])
EIGHT, FOUR = float_qparams_weight_only_qconfig, float_qparams_weight_only_qconfig_4bit
WHY = "it gives real numbers, of rows that are integers"


class Bags(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(50, 33, **options)

    def forward(self, ids: Tensor, offsets: Tensor | None = None, weights: Tensor | None = None) -> Any:
        return self.bags(ids, offsets, weights)


def converted(model: nn.Module, qconfig: Any, *x: Tensor) -> Any:
    return convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), x))


def in_rows_of(bags: nn.EmbeddingBag, levels: int) -> nn.EmbeddingBag:
    """What the bags are with each row rounded to so many steps between its least and its greatest element."""
    rounded = copy.deepcopy(bags)
    low, high = (bound.detach()[:, None] for bound in (bags.weight.amin(1), bags.weight.amax(1)))
    step = (high - low) / levels
    rounded.weight.data = torch.round((bags.weight.detach() - low) / step) * step + low
    return rounded


@pytest.mark.parametrize(("qconfig", "levels"), [(EIGHT, 255), (FOUR, 15)])
@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 9])
def test_bags_are_those_of_rounded_rows(qconfig: Any, levels: int, mode: str, padding: int | None) -> None:
    model = Bags(mode=mode, padding_idx=padding)
    quantized = converted(model, qconfig, IDS, OFFSETS)
    assert [(row.op, row.reason) for row in explain(quantized).rows] == [("RowsEmbeddingBag", WHY)]
    rounded = in_rows_of(model.bags, levels)
    for ids, offsets in (
        (IDS, OFFSETS),
        (IDS.int(), OFFSETS.int()),
        (IDS.int(), OFFSETS),
        (IDS[:0], torch.tensor([0, 0])),
    ):
        torch.testing.assert_close(quantized(ids, offsets), rounded(ids, offsets))
    matrix = converted(model, qconfig, IDS.reshape(2, 3))
    torch.testing.assert_close(matrix(IDS.reshape(2, 3)), rounded(IDS.reshape(2, 3)))


def test_weights_of_members_and_last_offsets() -> None:
    model = Bags(mode="sum", include_last_offset=True)
    weights = torch.randn(6)
    quantized = converted(model, EIGHT, IDS, OFFSETS, weights)
    rounded = in_rows_of(model.bags, 255)
    torch.testing.assert_close(quantized(IDS, OFFSETS, weights), rounded(IDS, OFFSETS, weights))


def test_rows_of_an_embedding_with_readers_of_both_kinds() -> None:
    model = nn.Sequential(nn.Embedding(50, 64, padding_idx=3), nn.Linear(64, 8)).eval()
    ids = torch.randint(50, (4, 6))
    mapping = get_default_qconfig_mapping().set_object_type(nn.Embedding, FOUR)
    prepared = prepare_fx(model, mapping, (ids,))
    prepared(ids)
    quantized = convert_fx(prepared)
    assert [row.op for row in explain(quantized).rows] == ["RowsEmbedding", "Quantize", "Int8Linear"]
    assert (quantized(ids) - model(ids)).abs().max() < 0.4
    assert quantized(ids[:0]).shape == (0, 6, 8)


def test_size_on_disk(tmp_path: Path) -> None:
    sizes = {}
    model = Bags(mode="sum").eval()
    model.bags = nn.EmbeddingBag(2000, 128, mode="sum")
    for name, kept in (
        ("float", model),
        ("8 bits", converted(model, EIGHT, IDS, OFFSETS)),
        ("4 bits", converted(model, FOUR, IDS, OFFSETS)),
    ):
        torch.save(kept.state_dict(), tmp_path / name)
        sizes[name] = (tmp_path / name).stat().st_size
    qparams = 2000 * 8
    assert abs(sizes["8 bits"] - sizes["float"] / 4 - qparams) < 4096
    assert abs(sizes["4 bits"] - sizes["float"] / 8 - qparams) < 4096


@pytest.mark.parametrize("qconfig", [EIGHT, FOUR])
def test_a_finished_model_is_a_normal_one(qconfig: Any, tmp_path: Path) -> None:
    quantized = converted(Bags(mode="mean", padding_idx=1), qconfig, IDS, OFFSETS)
    expected = quantized(IDS, OFFSETS)
    other = converted(Bags(mode="mean", padding_idx=1), qconfig, IDS, OFFSETS)
    assert not torch.equal(other(IDS, OFFSETS), expected)
    other.load_state_dict(quantized.state_dict())
    fxquant.save(quantized, tmp_path / "bags")
    exported = torch.export.export(quantized, (IDS, OFFSETS)).module()
    loaded = fxquant.load(tmp_path / "bags")
    for model in (other, pickle.loads(pickle.dumps(quantized)), copy.deepcopy(quantized), loaded, exported):
        assert torch.equal(model(IDS, OFFSETS), expected)


@pytest.mark.parametrize("qconfig", [default_embedding_qat_qconfig, default_embedding_qat_qconfig_4bit])
def test_training_computes_what_is_computed_afterwards(qconfig: Any) -> None:
    prepared = prepare_qat_fx(Bags(mode="sum").train(), QConfigMapping().set_global(qconfig), (IDS, OFFSETS))
    prepared(IDS, OFFSETS).square().sum().backward()
    assert next(prepared.parameters()).grad.abs().sum() > 0
    trained = prepared.eval()(IDS, OFFSETS)
    torch.testing.assert_close(convert_fx(prepared)(IDS, OFFSETS), trained)


def test_one_scale_for_all_rows_and_rows_under_the_default_mapping() -> None:
    model = Bags(mode="sum")
    for mapping in (QConfigMapping().set_global(default_weight_only_qconfig), get_default_qconfig_mapping()):
        prepared = prepare_fx(model.eval(), mapping, (IDS, OFFSETS))
        quantized = convert_fx(prepared)
        assert [row.op for row in explain(quantized).rows] == ["RowsEmbeddingBag"]
        assert (quantized(IDS, OFFSETS) - model(IDS, OFFSETS)).abs().max() < 0.06


def test_bags_stay_float_under_a_qconfig_of_integer_activations() -> None:
    model = Bags(mode="sum")
    quantized = converted(model, default_qconfig, IDS, OFFSETS)
    (row,) = explain(quantized).float_rows
    assert row.reason.endswith("embedding_bag; float_qparams_weight_only_qconfig makes integers of its rows")
    assert torch.equal(quantized(IDS, OFFSETS), model(IDS, OFFSETS))


def test_what_stays_float_says_why() -> None:
    class Computed(Bags):
        def forward(self, ids: Tensor, offsets: Any = None, weights: Any = None) -> Any:
            return torch.nn.functional.embedding_bag(ids, self.bags.weight * 2, offsets)

    reasons = {
        "the max of rows is computed in float; rows of integers give sums and means": Bags(mode="max"),
        "its weight is computed, not a parameter": Computed(),
        "its weight is torch.float64, not float32": Bags().double(),
    }
    for reason, model in reasons.items():
        quantized = converted(model, EIGHT, IDS, OFFSETS)
        assert reason in [row.reason for row in explain(quantized).float_rows]
        torch.testing.assert_close(quantized(IDS, OFFSETS), model(IDS, OFFSETS))


def test_wrong_indices_are_an_error_that_names_the_place() -> None:
    quantized = converted(Bags(), EIGHT, IDS, OFFSETS)
    with pytest.raises(InputError, match=r"bags.*of 50 rows takes indices in 0\.\.49, not 50"):
        quantized(IDS + 1, OFFSETS)
    with pytest.raises(InputError, match="bag 2 would be the indices 2 to 5 of 2"):
        quantized(IDS[:2], OFFSETS)


@pytest.mark.parametrize("bits", [8, 4])
def test_as_torch_ao_does(bits: int) -> None:
    ao = pytest.importorskip("torch.ao.quantization")
    theirs_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    name = "float_qparams_weight_only_qconfig" + ("_4bit" if bits == 4 else "")
    model = Bags(mode="sum", include_last_offset=True).eval()
    model.bags = nn.EmbeddingBag(50, 34, mode="sum", include_last_offset=True)  # torch.ao gives an even number only
    x = (IDS, torch.tensor([0, 2, 2, 6]))
    mapping = ao.QConfigMapping().set_object_type(nn.EmbeddingBag, getattr(ao, name))
    quantized = convert_fx(prepare_fx(model, mapping, x))
    assert [row.op for row in explain(quantized).rows] == ["RowsEmbeddingBag"]
    theirs = theirs_fx.convert_fx(theirs_fx.prepare_fx(copy.deepcopy(model), mapping, x))
    halves = {} if bits == 8 else {"rtol": 0.0, "atol": 0.01}  # torch.ao keeps the scales of 4 bits in float16
    torch.testing.assert_close(quantized(*x), theirs(*x), **halves)
    assert quantized.bags.rows.numel() == 50 * 34 * bits // 8
