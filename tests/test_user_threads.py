"""What users asked for, one test a thread: their model, and the thing that failed for them.

docs/what_users_asked_for.md lists the threads by theme. A test has the name of the repository and the thread's number.
"""

from __future__ import annotations

import copy
import functools
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import (
    FloatFunctional,
    HistogramObserver,
    ObserverBase,
    PrepareCustomConfig,
    QConfig,
    QConfigMapping,
    calibrate,
    compare,
    convert_fx,
    default_weight_observer,
    disable_fake_quant,
    enable_fake_quant,
    explain,
    export_onnx,
    get_default_qat_qconfig,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
    prepare_fx,
    prepare_qat_fx,
    sensitivity,
)
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import InputError
from fxquant.observer import MinMaxObserver
from fxquant.runtime.region import Int8Region
from fxquant.target import active_isa
from tests.graphs import Written

IMAGES = torch.linspace(-1, 1.2, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8).sin()


def converted(model: nn.Module, *inputs: Any, mapping: QConfigMapping | None = None) -> Any:
    prepared = prepare_fx(model.eval(), mapping or get_default_qconfig_mapping(), inputs)
    return convert_fx(calibrate(prepared, [inputs], progress=False))


def float_ops(quantized: nn.Module) -> list[str]:
    return [row.op for row in explain(quantized).float_rows]


def int8_places(quantized: nn.Module) -> set[str]:
    return {row.place for row in explain(quantized).rows if row.precision == "int8"}


def regions(quantized: nn.Module) -> list[Int8Region]:
    return [module for module in quantized.modules() if isinstance(module, Int8Region)]


class Net(nn.Module):
    """Convolution, batch norm, relu, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return y


# Capture


class Detect(nn.Module):
    """The head of YOLOv5 and v7: grids that are kept between calls, flags, and a result that depends on the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = [torch.zeros(1)] * 2
        self.m = nn.ModuleList(nn.Conv2d(channels, 18, 1) for channels in (8, 16))

    def forward(self, x: list[Tensor]) -> Any:
        z = []
        for i, conv in enumerate(self.m):
            x[i] = conv(x[i])
            b, _, ny, nx = x[i].shape
            x[i] = x[i].view(b, 3, 6, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
            if not self.training:
                if self.grid[i].shape[2:4] != x[i].shape[2:4]:
                    rows, columns = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
                    self.grid[i] = torch.stack((columns, rows), 2).view(1, 1, ny, nx, 2).float()
                y = x[i].sigmoid()
                z.append(torch.cat((y[..., :2] * 2 - 0.5 + self.grid[i], y[..., 2:]), -1).view(b, -1, 6))
        return x if self.training else (torch.cat(z, 1), x)


class Yolo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.detect = Detect()

    def forward(self, x: Tensor, augment: bool = False, profile: bool = False) -> Any:
        if augment:
            return torch.cat([self.once(x)[0], self.once(x.flip(3))[0]], 1)
        return self.once(x, profile)

    def once(self, x: Tensor, profile: bool = False) -> Any:
        y = F.silu(self.stem(x))
        if profile:
            print(y.shape)
        return self.detect([y, F.silu(self.down(y))])


YOLO_LAYERS = {"stem", "down", "detect.m.0", "detect.m.1"}


def test_pytorch_118634_a_detector_with_a_cached_grid_is_captured() -> None:
    model = Yolo().eval()
    quantized = converted(model, IMAGES)
    assert int8_places(quantized) >= YOLO_LAYERS
    (boxes, maps), (expected, expected_maps) = quantized(IMAGES), model(IMAGES)
    assert [m.shape for m in maps] == [m.shape for m in expected_maps]
    assert sqnr_db(expected, boxes) > 25


def test_yolov7_1937_if_augment() -> None:
    model = Yolo().eval()
    quantized = converted(model, IMAGES, True)
    assert int8_places(quantized) >= YOLO_LAYERS
    assert sqnr_db(model(IMAGES, True), quantized(IMAGES, True)) > 25
    with pytest.raises(InputError, match="augment"):
        quantized(IMAGES, False)


def test_deepvac_115_a_branch_on_a_size() -> None:
    def code(m: Any, x: Tensor) -> Any:
        if x.size(1) != 3:
            return None
        return m.conv(x)

    quantized = converted(Written(code, conv=nn.Conv2d(3, 4, 3)), IMAGES)
    assert int8_places(quantized) == {"conv"}
    with pytest.raises(InputError):
        quantized(IMAGES[:, :2])


class TrainsAndTests(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.param, self.linear = nn.Parameter(torch.rand(3, 4)), nn.Linear(4, 5)

    def loss(self, x: Tensor, gt_label: Any, **kwargs: Any) -> Tensor:
        return (self.linear(x + self.param).clamp(min=0.0, max=1.0) - gt_label).mean()

    def forward(self, x: Tensor, return_loss: bool = True, **kwargs: Any) -> Any:
        if return_loss:
            return self.loss(x, **kwargs)
        return self.linear(x + self.param).clamp(min=0.1, max=1.0)


def test_pytorch_87344_options_of_forward_are_fixed_by_the_example() -> None:
    model, x = TrainsAndTests(), torch.rand(3, 4)
    mapping = QConfigMapping().set_global(get_default_qat_qconfig("qnnpack"))
    trained = prepare_qat_fx(model.train(), mapping, {"x": x, "return_loss": True, "gt_label": torch.rand(5)})
    trained(x=x, return_loss=True, gt_label=torch.rand(5)).backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())
    quantized = converted(model, x, False)
    assert sqnr_db(model(x, False), quantized(x, False)) > 25
    with pytest.raises(InputError, match="return_loss"):
        quantized(x, True)


# Speed: what the programs are; how long they take is measured by `fxquant bench`


def test_pytorch_103802_a_hundred_linears_are_one_program() -> None:
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(100)))
    quantized = converted(model, torch.randn(8, 16))
    kinds = [row.precision for row in explain(quantized).rows]
    assert (kinds.count("int8"), kinds.count("boundary"), len(regions(quantized))) == (100, 1, 1)


def test_pytorch_42113_a_depthwise_block_is_int8_without_stubs() -> None:
    block = nn.Sequential(
        *(nn.Conv2d(8, 8, 4, 2, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU()),
    )
    quantized = converted(block, torch.randn(2, 8, 16, 16))
    assert [row.op for row in explain(quantized).rows if row.precision == "int8"] == ["Int8Conv2d", "Int8Conv2d"]
    assert not float_ops(quantized)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)  # type: ignore[no-any-return]


def test_pytorch_160095_every_layer_of_a_residual_network_is_quantized() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1), Residual(), Residual(), nn.Flatten())
    quantized = converted(nn.Sequential(model, nn.Linear(32, 5)), IMAGES)
    layers = [row.op for row in explain(quantized).rows if row.precision == "int8"]
    assert layers.count("Int8Conv2d") == 5
    assert "Int8Linear" in layers
    assert not float_ops(quantized)


def test_pytorch_108638_one_linear_runs_in_an_int8_kernel_without_a_compiler() -> None:
    quantized = converted(nn.Linear(64, 32), torch.randn(16, 64))
    [layer] = [row for row in explain(quantized).rows if row.precision == "int8"]
    assert layer.op == "Int8Linear"
    assert quantized.state_dict()["linear.weight"].dtype is torch.int8


class Bert(nn.Module):
    """As in optimum: scores divided by a number, and a mask that adds -10000 and broadcasts."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.norm = nn.Embedding(50, width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.norm2 = nn.Linear(width, width), nn.LayerNorm(width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = (1.0 - attention_mask[:, None, None, :]) * -10000.0
        x = self.norm(self.words(input_ids))
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        context = torch.matmul((scores + mask).softmax(-1), v).permute(0, 2, 1, 3).contiguous()
        y: Tensor = self.norm2(self.out(context.view(x.shape)) + x)
        return y


def tokens() -> tuple[Tensor, Tensor]:
    return torch.arange(24).reshape(2, 12), (torch.arange(12) < torch.tensor([[12], [7]])).float()


@functools.cache
def bert() -> tuple[nn.Module, nn.Module]:
    """A layer of BERT, and the same in int8."""
    model = Bert()
    return model, converted(model, *tokens())


def test_ao_3157_a_bert_layer_is_int8_from_its_embedding_to_its_norm() -> None:
    _, quantized = bert()
    assert not float_ops(quantized)
    assert int8_places(quantized) >= {"words", "norm", "query", "key", "value", "out", "norm2"}
    assert len(regions(quantized)) == 1


def test_ao_4365_a_transformer_layer_is_dynamic_and_near_to_float() -> None:
    model = Bert().eval()
    mapping = fxquant.QConfigMapping().set_global(fxquant.per_channel_dynamic_qconfig)
    in_graph = fxquant.convert_fx(fxquant.prepare_fx(model, mapping, tokens()))
    layers = {row.place for row in explain(in_graph).rows if row.precision == "dynamic"}
    assert layers == {"query", "key", "value", "out", ""}  # the last is attention, which the model itself calls
    eager = fxquant.quantize_dynamic(model, {nn.Linear: fxquant.per_channel_dynamic_qconfig})
    for quantized in (in_graph, eager):
        assert sqnr_db(model(*tokens()), quantized(*tokens())) > 35


def test_pocket_tts_147_a_dynamic_feed_forward_is_one_program_and_the_same_on_every_isa(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its normalization, too, which qnnpack had no kernel for (forum 101064)."""
    model = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32), nn.LayerNorm(32)).eval()
    x = torch.linspace(-3, 3, 5 * 32).sin().reshape(5, 32)
    mapping = fxquant.QConfigMapping().set_global(fxquant.per_channel_dynamic_qconfig)
    quantized = fxquant.convert_fx(fxquant.prepare_fx(model, mapping, (x,)))
    [region] = regions(quantized)
    assert {str(node.target) for node in region.graph.find_nodes(op="call_module")} >= {"0", "1", "3", "4"}
    y = quantized(x)
    assert sqnr_db(model(x), y) > 30
    monkeypatch.setenv("FXQUANT_ISA", "scalar")
    active_isa.cache_clear()
    assert torch.equal(copy.deepcopy(quantized)(x), y)


def test_optimum_15_a_mask_of_minus_10000_a_division_and_a_broadcast_need_no_rewriting() -> None:
    model, quantized = bert()
    assert "Int8Attention" in [row.op for row in explain(quantized).rows]
    assert sqnr_db(model(*tokens()), quantized(*tokens())) > 25


def test_ao_4865_a_convolution_is_int8_with_a_scale_a_channel() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    quantized = converted(model, IMAGES)
    [layer] = [row for row in explain(quantized).rows if row.precision == "int8"]
    assert layer.op == "Int8Conv2d"
    weight = quantized.state_dict()["0.weight"]
    assert weight.dtype is torch.int8
    assert (weight.flatten(1).abs().amax(1) == 127).all()


def test_fasterai_25_no_layer_is_skipped_silently() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4), nn.Softshrink())
    listed = {row.place: row for row in explain(converted(model, IMAGES)).rows}
    assert {"0", "2", "3"} <= set(listed)
    assert all(row.reason for row in listed.values() if row.precision == "float")


# Types and stubs


@pytest.mark.parametrize(
    "code",
    [lambda m, x: m.conv(x), lambda m, x: m.conv(x) + torch.sin(m.conv(x)), lambda m, x: m.conv(torch.sin(x)) * 2.0],
)
def test_pytorch_34583_floats_go_in_and_floats_come_out(code: Any) -> None:
    quantized = converted(Written(code, conv=nn.Conv2d(3, 4, 3)), IMAGES)
    y = quantized(IMAGES)
    assert y.dtype is torch.float32
    assert not y.is_quantized


def test_tutorials_1227_a_skip_connection_is_a_plus() -> None:
    model = Written(lambda m, x: x + m.conv(x), conv=nn.Conv2d(3, 3, 3, padding=1))
    [row] = [row for row in explain(converted(model, IMAGES)).rows if row.precision == "int8"]
    assert row.op == "Int8Conv2d"
    assert row.absorbed == ("add",)


def test_pytorch_35595_a_functional_made_within_forward() -> None:
    model = Written(lambda m, x: FloatFunctional().add(m.conv(x), x), conv=nn.Conv2d(3, 3, 3, padding=1))
    quantized = converted(model, IMAGES)
    assert not float_ops(quantized)
    assert sqnr_db(model(IMAGES), quantized(IMAGES)) > 30


# Nothing silent


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_pytorch_85851_a_qconfig_that_cannot_be_followed_is_told(dtype: torch.dtype) -> None:
    mapping = QConfigMapping().set_global(QConfig(MinMaxObserver.with_args(dtype=dtype), default_weight_observer))
    with pytest.warns(match="no observers"):
        quantized = converted(Net(), IMAGES, mapping=mapping)
    reasons = {row.place: row.reason for row in explain(quantized).float_rows}
    assert reasons["conv"] == f"its qconfig asks for {dtype} activations; kernels take 8-bit integers"


@pytest.mark.parametrize(
    "function",
    [
        F.gelu,
        F.silu,
        lambda x: F.softmax(x, -1),
        lambda x: x - 0.3,
        lambda x: x / 2,
        F.mish,
        lambda x: x.chunk(2, 1)[0],
    ],
)
def test_pytorch_40759_no_float_island_behind_a_layer(function: Callable[[Tensor], Tensor]) -> None:
    model = Written(lambda m, x: m.conv(function(m.first(x))), first=nn.Conv2d(3, 8, 1), conv=nn.LazyConv2d(4, 1))
    model(IMAGES)
    assert not float_ops(converted(model, IMAGES))


# Files


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 3), nn.Linear(8, 4), Net()])
def test_pytorch_113817_a_simple_model_is_exported_to_onnx(model: nn.Module, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    quantized = converted(model, IMAGES)
    export_onnx(quantized, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    [result] = session.run(None, {session.get_inputs()[0].name: IMAGES.numpy()})
    assert sqnr_db(quantized(IMAGES), torch.from_numpy(result)) > 35


def test_pytorch_68638_a_model_of_quantized_training_is_exported_to_onnx(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(12, 16, 3), nn.Conv2d(16, 20, (2, 4), (2, 1), 2))
    x = torch.randn(2, 12, 9, 9)
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (x,))
    prepared(x)
    export_onnx(convert_fx(prepared), tmp_path / "model.onnx")
    onnx = pytest.importorskip("onnx")
    ops = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert ops.count("Conv") == 2
    assert "QuantizeLinear" in ops


def test_pytorch_69426_a_symbolically_traced_model_is_saved_and_loaded_whole() -> None:
    quantized = converted(torch.fx.symbolic_trace(Net().eval()), IMAGES)
    file = io.BytesIO()
    torch.save(quantized, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(IMAGES), quantized(IMAGES))


def test_pytorch_61881_a_loaded_model_has_all_its_attributes() -> None:
    quantized = converted(Net(), IMAGES)
    file = io.BytesIO()
    torch.save(quantized, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False).eval()
    assert repr(loaded) == repr(quantized)
    assert str(explain(loaded)) == str(explain(quantized))
    assert loaded.state_dict().keys() == quantized.state_dict().keys()


# Training


def trained(model: nn.Module, x: Tensor) -> Any:
    """`model` prepared for training, after two steps."""
    prepared = prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping(), (x,))
    optimizer = torch.optim.SGD(prepared.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        prepared(x).square().mean().backward()
        optimizer.step()
    return prepared.eval()


def with_statistics(model: nn.Module) -> nn.Module:
    """Its batch norms have seen the images."""
    model.train()(IMAGES)
    return model


def test_pytorch_95287_the_converted_model_computes_what_was_trained() -> None:
    prepared = trained(with_statistics(Net()), IMAGES)
    with torch.no_grad():
        assert sqnr_db(prepared(IMAGES), convert_fx(prepared)(IMAGES)) > 40


def test_pytorch_120983_fake_quantizes_are_switched_off_and_on() -> None:
    model = with_statistics(Net()).eval()
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (IMAGES,))
    with torch.no_grad():
        quantized = prepared(IMAGES)
        torch.testing.assert_close(prepared.apply(disable_fake_quant)(IMAGES), model(IMAGES))
        assert not torch.equal(quantized, model(IMAGES))
        torch.testing.assert_close(prepared.apply(enable_fake_quant)(IMAGES), quantized, atol=0.01, rtol=0)


def test_pytorch_115715_a_batch_norm_that_no_layer_precedes_is_converted_as_trained() -> None:
    model = Written(lambda m, x: m.conv(torch.relu(m.norm(x))), norm=nn.BatchNorm2d(3), conv=nn.Conv2d(3, 4, 3))
    prepared = trained(with_statistics(model), IMAGES)
    with torch.no_grad():
        assert sqnr_db(prepared(IMAGES), convert_fx(prepared)(IMAGES)) > 40


def test_pytorch_150746_an_untrained_step_costs_no_accuracy() -> None:
    model = with_statistics(Net()).eval()
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (IMAGES,))
    with torch.no_grad():
        prepared(IMAGES)
        assert sqnr_db(model(IMAGES), convert_fx(prepared.eval())(IMAGES)) > 25


def test_pytorch_151726_train_and_eval_of_a_prepared_and_of_a_converted_model() -> None:
    prepared = prepare_qat_fx(Net().train(), get_default_qat_qconfig_mapping(), (IMAGES,))
    assert prepared.training
    assert not prepared.eval().training
    quantized = convert_fx(prepared)
    assert torch.equal(quantized.train()(IMAGES), quantized.eval()(IMAGES))
    exported: Any = torch.export.export(Net().eval(), (IMAGES,)).module()
    assert prepare_fx(exported, get_default_qconfig_mapping(), (IMAGES,)).train().eval()(IMAGES).shape == (4, 4)


# Which layer


class Uneven(Net):
    """The net, with one channel of its convolution a hundred times as large: its neighbours get few codes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.norm.weight[0] *= 300
            self.head.weight[:, 0] /= 300


def test_tinyneuralnetwork_188_the_error_of_each_layer_accumulated_and_on_its_own() -> None:
    model = Uneven().eval()
    comparison = compare(model, converted(model, IMAGES), IMAGES)
    rows = {row.place: row for row in comparison.rows}
    assert rows["head"].alone.cosine >= rows["head"].accumulated.cosine - 1e-3
    assert max(comparison.rows, key=lambda row: row.accumulated.peak).place == "conv"
    assert rows["conv"].weight is not None
    assert rows["conv"].weight.sqnr_db > 35


def test_auto_round_253_layers_are_ranked_by_what_they_cost() -> None:
    model = Uneven().eval()
    ranking = sensitivity(model, [IMAGES], progress=False)
    assert {row.layer.name for row in ranking.rows} >= {"conv", "head"}
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (IMAGES,)), [IMAGES], progress=False)
    better = convert_fx(prepared, qconfig_mapping=ranking.left_float(1))
    assert sqnr_db(model(IMAGES), better(IMAGES)) > ranking.int8


def test_tutorials_1936_weights_and_activations_are_compared_without_loggers() -> None:
    model = Net().eval()
    quantized = converted(model, IMAGES)
    rows = {row.place: row for row in compare(model, quantized, IMAGES).rows}
    assert rows["conv"].absorbed == ("BatchNorm2d", "torch.relu")
    assert rows["head"].weight is not None
    assert rows["head"].weight.sqnr_db > 35
    assert rows["head"].accumulated.sqnr_db == pytest.approx(sqnr_db(model(IMAGES), quantized(IMAGES)), abs=0.01)
    assert not any(module._forward_hooks for each in (model, quantized) for module in each.modules())


# Machines


def test_pytorch_103646_sums_of_the_largest_products_do_not_saturate(isa: str) -> None:
    model = nn.Linear(64, 3, bias=False)
    nn.init.ones_(model.weight)
    quantized = converted(model, torch.ones(2, 64))
    torch.testing.assert_close(quantized(torch.ones(2, 64)), torch.full((2, 3), 64.0), atol=64 / 255, rtol=0)


# Ops


@pytest.mark.parametrize(
    "layer", [nn.ConvTranspose1d(3, 6, 4, 2), nn.ConvTranspose2d(3, 6, 4, 2), nn.ConvTranspose3d(3, 6, 2)]
)
def test_pytorch_54816_a_transposed_convolution_has_a_scale_a_channel(layer: Any) -> None:
    scale_channels(layer, 6)


def test_pytorch_47535_a_transposed_convolution_in_groups_has_a_scale_a_channel() -> None:
    scale_channels(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), 6)


class Recurrent(nn.Module):
    """A recurrent module between layers."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.before = nn.Linear(12, 16)
        self.recurrent = recurrent
        self.after = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(torch.relu(self.before(x)))
        logits: Tensor = self.after(y)
        return logits


@pytest.mark.parametrize("layers", [1, 2])
def test_pytorch_55945_an_lstm_is_int8_without_custom_modules(layers: int) -> None:
    model, x = Recurrent(nn.LSTM(16, 24, layers, batch_first=True)).eval(), torch.randn(3, 9, 12)
    quantized = converted(model, x)
    assert not float_ops(quantized)
    assert len(regions(quantized)) == 1
    assert sqnr_db(model(x), quantized(x)) > 28


def test_executorch_10104_a_gru_is_int8() -> None:
    model, x = Recurrent(nn.GRU(16, 12, bidirectional=True)).eval(), torch.randn(9, 3, 12)
    quantized = converted(model, x)
    assert not float_ops(quantized)
    assert sqnr_db(model(x), quantized(x)) > 28


def test_pytorch_120626_an_lstm_cell_goes_on_where_it_ended() -> None:
    """One step a call, as in streaming: hidden and cell states go in and out."""

    class Streaming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(12, 24)

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            states: tuple[Tensor, Tensor] = self.cell(x, (h, c))
            return states

    model, steps = Streaming().eval(), torch.randn(20, 2, 12)

    def run(module: nn.Module) -> Tensor:
        h = c = torch.zeros(2, 24)
        for x in steps:
            h, c = module(x, h, c)
        return torch.cat([h, c])

    prepared = prepare_fx(model, get_default_qconfig_mapping(), (steps[0], *[torch.zeros(2, 24)] * 2))
    run(prepared)
    quantized = convert_fx(prepared)
    assert "cell" in int8_places(quantized)
    assert sqnr_db(run(model), run(quantized)) > 25


def scale_channels(layer: Any, channels: int) -> None:
    """With outputs a thousandfold apart, one scale for all would leave nothing of the smallest."""
    x = torch.randn(2, layer.in_channels, *[5] * (layer.weight.dim() - 2))
    factors = torch.logspace(-3, 0, channels)
    with torch.no_grad():
        rows = factors.reshape(layer.groups, 1, -1, *[1] * (layer.weight.dim() - 2))
        layer.weight.copy_((layer.weight.unflatten(0, (layer.groups, -1)) * rows).flatten(0, 1))
        layer.bias.zero_()
    prepared = calibrate(prepare_fx(layer.eval(), get_default_qconfig_mapping(), (x,)), [x], progress=False)
    quantized = convert_fx(prepared)
    assert not float_ops(quantized)
    scales = next(m for m in prepared.modules() if isinstance(m, ObserverBase) and getattr(m, "ch_axis", None) == 1)
    assert scales.calculate_qparams()[0].numel() * layer.groups in (channels, channels * layer.groups)
    assert sqnr_db(layer(x)[:, -1], quantized(x)[:, -1]) > 30


def test_pytorch_53026_multihead_attention_is_int8() -> None:
    model = Written(lambda m, x: m.attention(x, x, x, need_weights=False)[0], attention=nn.MultiheadAttention(16, 4))
    quantized = converted(model, torch.randn(6, 2, 16))
    assert "Int8Attention" in [row.op for row in explain(quantized).rows]
    assert not float_ops(quantized)


# Shapes and export


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (7, 3, 8, 8), (2, 3, 11, 5), (0, 3, 8, 8)])
def test_pytorch_118289_any_batch_and_any_image_size(shape: tuple[int, ...]) -> None:
    assert converted(Net(), IMAGES)(torch.ones(shape)).shape == (shape[0], 4)


def test_pytorch_139718_a_quantized_model_is_exported_with_its_kernels() -> None:
    quantized = converted(Net(), IMAGES)
    exported = torch.export.export(quantized, (IMAGES,))
    assert torch.equal(exported.module()(IMAGES), quantized(IMAGES))
    assert any("fxquant.conv2d" in str(node.target) for node in exported.graph.nodes)


def test_neural_compressor_structural_ops_masks_and_positions_are_not_observed() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1])
        scores = m.linear(x + m.positions(positions)) @ x.mT
        allowed = positions[:, None] >= positions
        y: Tensor = scores.masked_fill(~allowed, -math.inf).softmax(-1) @ x
        return y

    model, x = Written(code, linear=nn.Linear(8, 8), positions=nn.Embedding(16, 8)), torch.randn(2, 5, 8)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    seen: list[Tensor] = []
    for module in prepared.modules():
        if isinstance(module, ObserverBase):
            module.register_forward_hook(lambda m, args, y: seen.append(args[0]))
    prepared(x)
    assert seen
    assert all(value.dtype is torch.float32 and value.isfinite().all() for value in seen)
    quantized = convert_fx(calibrate(prepared, [x], progress=False))
    assert sqnr_db(model(x), quantized(x)) > 25


# Calibration


def test_pytorch_122659_a_range_that_explodes_takes_no_more_memory() -> None:
    observer = HistogramObserver()
    sizes = []
    for factor in (1e-9, 1.0, 1e6, 1e9):
        observer(factor * torch.linspace(-1, 1, 1000))
        sizes.append(sum(buffer.numel() for buffer in observer.buffers()))
    assert sizes[1:] == sizes[:1] * 3
    scale, _ = observer.calculate_qparams()
    assert 1e9 / 255 < float(scale) < 2.1e9 / 255


# Side effects


def test_pytorch_68892_the_bias_of_a_layer_is_read_beside_it() -> None:
    model = Written(lambda m, x: F.relu(m.linear(x)) + m.linear.bias, linear=nn.Linear(5, 5))
    x = torch.randn(8, 5)
    assert sqnr_db(model(x), converted(model, x)(x)) > 30


def test_pytorch_50306_attributes_are_preserved_and_the_mode_is_kept() -> None:
    model: Any = Net().eval()
    model.preserved_attr = 3
    custom = PrepareCustomConfig().set_preserved_attributes(["preserved_attr"])
    prepared: Any = prepare_fx(model, get_default_qconfig_mapping(), (IMAGES,), custom)
    assert prepared.preserved_attr == 3
    assert not prepared.training


def test_pytorch_56550_attributes_survive_a_copy() -> None:
    model: Any = Net().eval()
    model.preserved_attr = 3
    custom = PrepareCustomConfig().set_preserved_attributes(["preserved_attr"])
    prepared: Any = prepare_fx(model, get_default_qconfig_mapping(), (IMAGES,), custom)
    assert copy.deepcopy(prepared).preserved_attr == 3


def test_pytorch_43518_the_model_that_was_given_is_not_changed() -> None:
    model = with_statistics(Net()).eval()
    before, modules = copy.deepcopy(model.state_dict()), list(model.modules())
    converted(model, IMAGES)
    assert list(model.modules()) == modules
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


# The page

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "docs" / "what_users_asked_for.md").read_text().splitlines()
ROWS = [[cell.strip() for cell in line.split(" | ")] for line in LINES if re.match(r"\| \d+ \|", line)]
TESTS = [name for name in list(globals()) if name.startswith("test_")]


def test_the_page_has_every_theme() -> None:
    assert [int(row[0].removeprefix("| ")) for row in ROWS] == list(range(1, 26))
    named = [name for row in ROWS for name in re.findall(r"`(test_\w+)`", row[3])]
    assert sorted(named) == sorted(TESTS)


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_each_theme_has_tests_of_its_threads_or_a_sentence(row: list[str]) -> None:
    _, _, threads, here = row
    names = re.findall(r"`(test_\w+)`", here)
    assert names or len(re.sub("`[^`]*`", "", here).split()) > 5
    linked = re.findall(r"\[([\w.-]+)#(\d+)\]\(https://github\.com/[\w.-]+/([\w.-]+)/(?:issues|pull)/(\d+)\)", threads)
    assert linked or "](https://" in threads
    assert all((label, number) == (name, at) for label, number, name, at in linked)
    known = {f"{repository}_{number}".replace("-", "_").lower() for repository, number, *_ in linked}
    assert {match[1] for name in names if (match := re.match(r"test_([a-z_0-9]+?_\d+)_", name))} <= known
    for path, name in re.findall(r"`(tests/[\w/.]+)::(test_\w+)`", here):
        assert f"def {name}(" in (ROOT / path).read_text()
