"""export_onnx of what finds its scales at run time or has integer weights alone: ONNX Runtime computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_models import assert_layers_within_a_step, exported
from regions import quantized
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import fxquant
from fxquant import QConfig, QConfigMapping, explain, per_channel_dynamic_qconfig, per_channel_dynamic_qconfig_16bit
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import ConfigError, UnsupportedError
from fxquant.observer import PerGroupMinMaxObserver, default_observer, default_per_channel_weight_observer
from fxquant.qconfig import (
    default_dynamic_qconfig,
    default_weight_only_qconfig,
    float_qparams_weight_only_qconfig,
    group_weight_only_qconfig,
    per_channel_weight_only_qconfig,
)
from fxquant.runtime.quantized_module import QuantizedModule

by_tensor = QConfig(
    default_dynamic_qconfig.activation.with_args(qscheme=torch.per_tensor_affine), default_per_channel_weight_observer
)
by_tensor_7_bits = QConfig(
    default_dynamic_qconfig.activation.with_args(qscheme=torch.per_tensor_affine, quant_min=0, quant_max=127),
    default_per_channel_weight_observer,
)


def converted(model: nn.Module, qconfig: QConfig, x: Tensor) -> QuantizedModule:
    return quantized(model, x, mapping=QConfigMapping().set_global(qconfig))


def ops_of(model: QuantizedModule, folder: Path) -> list[str]:
    import onnx

    fxquant.export_onnx(model, folder / "model.onnx")
    return [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]


class Lines(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(64, 96), nn.Linear(96, 32), nn.Linear(32, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.third(F.hardtanh(self.second(F.relu(self.first(x))), -0.5, 0.5))
        return y


whole_biases = QConfig(
    default_dynamic_qconfig.activation.with_args(bias_dtype=torch.int32), default_per_channel_weight_observer
)
in_groups = QConfig(default_dynamic_qconfig.activation, PerGroupMinMaxObserver.with_args(group_size=16))
DYNAMIC = [default_dynamic_qconfig, per_channel_dynamic_qconfig, by_tensor, by_tensor_7_bits]
WEIGHT_ONLY = [default_weight_only_qconfig, per_channel_weight_only_qconfig, group_weight_only_qconfig]


@pytest.mark.parametrize("qconfig", [*DYNAMIC, whole_biases, in_groups, *WEIGHT_ONLY])
@pytest.mark.parametrize("shape", [(7, 64), (2, 3, 64)])
def test_linear_layers(qconfig: QConfig, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = torch.randn(shape) * torch.logspace(-2, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    model = converted(Lines(), qconfig, x)
    assert assert_layers_within_a_step(model, x, {"DynamicLinear": 1e-2}) == 3
    more = torch.cat([x, -0.5 * x, x[:1]])
    [y] = exported(model, tmp_path, more)
    assert sqnr_db(model(more), y) > 50


def test_they_multiply_integers(tmp_path: Path) -> None:
    x = torch.randn(3, 64)
    for qconfig in DYNAMIC:
        assert ops_of(converted(Lines(), qconfig, x), tmp_path).count("MatMulInteger") == 3
    assert ops_of(converted(Lines(), by_tensor, x), tmp_path).count("DynamicQuantizeLinear") == 3
    assert ops_of(converted(Lines(), group_weight_only_qconfig, x), tmp_path).count("DequantizeLinear") == 3


def test_codes_by_row_are_ours(tmp_path: Path) -> None:
    """Each sum of integers is the same, so results differ by the rounding of a product and a sum at most."""
    x = torch.randn(50, 64)
    model = converted(nn.Sequential(nn.Linear(64, 48)), per_channel_dynamic_qconfig, x)
    [y] = exported(model, tmp_path, x, optimize=False)
    torch.testing.assert_close(y, model(x), rtol=0, atol=1e-6)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.up, self.line = nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2), nn.Conv1d(6, 4, 3)
        self.volume, self.deep = nn.Conv3d(1, 4, 3, padding=1), nn.ConvTranspose3d(4, 2, 2, 2)

    def forward(self, x: Tensor) -> Any:
        y = self.up(F.relu(self.mix(F.relu(self.stem(x)))))
        return self.line(y.flatten(2)), self.deep(self.volume(y[:, None]))


@pytest.mark.parametrize("qconfig", [per_channel_dynamic_qconfig, by_tensor])
def test_convolutions(qconfig: QConfig, tmp_path: Path) -> None:
    x = torch.randn(3, 3, 12, 10) * torch.tensor([1.0, 10.0, 0.1]).reshape(-1, 1, 1, 1)
    model = converted(Images(), qconfig, x)
    assert assert_layers_within_a_step(model, x) == 6
    more = torch.cat([x, x.flip(0)[:2]])
    for one, other in zip(exported(model, tmp_path, more), model(more), strict=True):
        assert sqnr_db(other, one) > 50


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(20, 24), nn.LayerNorm(24)
        layer = nn.TransformerEncoderLayer(24, 4, 40, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(24, 6)

    def forward(self, tokens: Tensor) -> Any:
        x = self.layers(self.norm(self.words(tokens)))
        scores = x @ x.transpose(1, 2) / 4
        return self.head(F.gelu(x, approximate="tanh")), F.scaled_dot_product_attention(x, x, x, is_causal=True), scores


@pytest.mark.parametrize("qconfig", [per_channel_dynamic_qconfig, per_channel_weight_only_qconfig])
def test_encoders(qconfig: QConfig, tmp_path: Path) -> None:
    x = torch.randint(20, (3, 35))
    model = converted(Encoder(), qconfig, x)
    attention = {"DynamicAttention": 2e-2}  # a probability that is rounded to another 255th
    assert assert_layers_within_a_step(model, x, attention) >= 17
    kinds = {type(module).__name__ for module in model.modules()}
    assert {"DynamicMatmul", "DynamicAttention"} <= kinds or "FloatAttention" in kinds
    for one, other in zip(exported(model, tmp_path, x), model(x), strict=True):
        assert sqnr_db(other, one) > 35


def test_embeddings_of_integers(tmp_path: Path) -> None:
    x = torch.randint(20, (3, 17))
    mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
    mapping = mapping.set_object_type(nn.Embedding, float_qparams_weight_only_qconfig)
    model = quantized(nn.Sequential(nn.Embedding(20, 24), nn.Linear(24, 6)), x, mapping=mapping)
    assert [row.op for row in explain(model).rows] == ["RowsEmbedding", "DynamicLinear"]
    [y] = exported(model, tmp_path, x)
    assert sqnr_db(model(x), y) > 50


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_differ_by_what_their_states_are_rounded(kind: Any, tmp_path: Path) -> None:
    x = torch.randn(7, 3, 12)
    model = converted(nn.Sequential(kind(12, 16, 2, bidirectional=True)), per_channel_dynamic_qconfig, x)
    results, expected = exported(model, tmp_path, x), pytree.tree_leaves(model(x))
    for one, other in zip(results, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert sqnr_db(other, one) > 30


def test_layers_of_16_bits_are_refused_with_what_to_do(tmp_path: Path) -> None:
    model = converted(nn.Sequential(nn.LSTM(4, 5)), per_channel_dynamic_qconfig_16bit, torch.randn(3, 2, 4))
    with pytest.raises(UnsupportedError, match=r"0 \(LSTM.*cannot be exported: .* under per_channel_dynamic_qconfig"):
        fxquant.export_onnx(model, tmp_path / "model.onnx")


def test_quantize_dynamic_gives_no_graph_to_export(tmp_path: Path) -> None:
    model = fxquant.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)))
    with pytest.raises(ConfigError, match="prepare_fx and convert_fx take the qconfigs of quantize_dynamic"):
        fxquant.export_onnx(model, tmp_path / "model.onnx")  # type: ignore[arg-type]


def test_groups_of_inputs_under_a_static_qconfig(tmp_path: Path) -> None:
    x = torch.randn(9, 64)
    groups = QConfig(default_observer, PerGroupMinMaxObserver.with_args(group_size=16))
    model = converted(Lines(), groups, x)
    assert "Int8LinearGrouped" in {type(module).__name__ for module in model.modules()}
    assert assert_layers_within_a_step(model, x) >= 3
    [y] = exported(model, tmp_path, x)
    assert sqnr_db(model(x), y) > 30
