"""From a float model to an int8 one: every stage computes the same model, and the result is an ordinary nn.Module."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from structure import structure
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.demo.metrics import sqnr_db
from fxquant.graph.pipeline import run_stage
from fxquant.graph.verify import verify


class Block(nn.Module):
    """What classifiers are made of: conv-bn-relu, a residual, a concatenation, pools and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU())
        self.right = nn.Conv2d(16, 16, 1)
        self.pool = nn.MaxPool2d(2)
        self.act = nn.SiLU()
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu(self.right(self.left(x)) + x)
        z = torch.cat([self.act(self.right(y)), y], dim=1)
        z = F.adaptive_avg_pool2d(self.pool(z), 1).flatten(1)
        return self.head(self.drop(z))


def block() -> Block:
    model = Block()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return model.eval()


def prepared_block() -> tuple[Block, GraphModule, Tensor]:
    model, x = block(), torch.randn(8, 3, 20, 24)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    calibrate(prepared, [x], progress=False)
    return model, prepared, x


def stages(prepared: GraphModule) -> dict[str, GraphModule]:
    """The model after each stage of convert_fx."""
    after, gm = {}, copy.deepcopy(prepared)
    for stage in ("convert", "fold", "lower"):
        gm = run_stage(gm, stage)
        verify(gm, stage)
        after[stage] = copy.deepcopy(gm)
    return after


def test_the_prepared_model_computes_what_the_model_computes() -> None:
    model, prepared, x = prepared_block()
    torch.testing.assert_close(prepared(x), model(x))


def test_the_int8_model_is_close_to_the_float_model() -> None:
    model, prepared, x = prepared_block()
    assert sqnr_db(model(x), convert_fx(prepared)(x)) > 25


def test_kernels_agree_with_the_integer_ops_bit_for_bit() -> None:
    _, prepared, x = prepared_block()
    after = stages(prepared)
    assert torch.equal(after["fold"](x), after["lower"](x))


def test_the_integer_ops_agree_with_the_reference_model() -> None:
    _, prepared, x = prepared_block()
    after = stages(prepared)
    assert sqnr_db(after["convert"](x), after["fold"](x)) > 35


def test_everything_between_the_boundaries_runs_in_int8() -> None:
    _, prepared, _ = prepared_block()
    rows = explain(convert_fx(prepared)).rows
    assert [row.op for row in rows if row.precision == "boundary"] == ["Quantize"]
    assert [row for row in rows if row.precision == "float"] == []


def test_the_graph_after_each_stage(golden: Callable[[str, str], None]) -> None:
    _, prepared, _ = prepared_block()
    text = [f"== {stage}\n{structure(gm)}" for stage, gm in {"observe": prepared, **stages(prepared)}.items()]
    golden("block.txt", "\n".join(text))


def test_the_users_model_is_untouched() -> None:
    model = block()
    before = copy.deepcopy(model)
    x = torch.randn(2, 3, 16, 16)
    convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    assert {name: type(m) for name, m in model.named_modules()} == {n: type(m) for n, m in before.named_modules()}
    for (name, tensor), (_, old) in zip(model.state_dict().items(), before.state_dict().items(), strict=True):
        assert torch.equal(tensor, old), name


def test_converting_leaves_the_prepared_model_as_it_was() -> None:
    _, prepared, x = prepared_block()
    before, state = str(prepared.graph), copy.deepcopy(prepared.state_dict())
    first = convert_fx(prepared)
    assert str(prepared.graph) == before
    assert all(torch.equal(tensor, prepared.state_dict()[name]) for name, tensor in state.items())
    assert torch.equal(convert_fx(prepared)(x), first(x))


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_any_batch_size_and_image_size(batch: int) -> None:
    model, prepared, _ = prepared_block()
    x = torch.randn(batch, 3, 28, 36)
    assert sqnr_db(model(x), convert_fx(prepared)(x)) > 20


def _pickled(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))  # type: ignore[no-any-return]


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("travel", [copy.deepcopy, _pickled, _saved])
def test_copies_compute_the_same(travel: Callable[[nn.Module], Any]) -> None:
    _, prepared, x = prepared_block()
    quantized = convert_fx(prepared)
    copied = travel(quantized)
    assert torch.equal(copied(x), quantized(x))
    assert str(explain(copied)) == str(explain(quantized))


def test_a_state_dict_carries_the_whole_model() -> None:
    _, prepared, x = prepared_block()
    quantized = convert_fx(prepared)
    torch.manual_seed(1)
    other_prepared = prepare_fx(block(), get_default_qconfig_mapping(), (x,))
    other = convert_fx(calibrate(other_prepared, [3 * x], progress=False))
    assert not torch.equal(other(x), quantized(x))
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(x), quantized(x))


def test_a_state_dict_carries_what_padding_adds() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(F.pad(self.conv(x), (1, 1, 1, 1), value=0.5), 3)

    x, mapping = torch.randn(2, 3, 7, 7), get_default_qconfig_mapping()
    models = [
        convert_fx(calibrate(prepare_fx(Padded().eval(), mapping, (x,)), [scale * x + scale], progress=False))
        for scale in (1, 5)
    ]
    expected = models[0](x)
    assert not torch.equal(models[1](x), expected)
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(models[1](x), expected)


def test_weights_and_inputs_may_be_tiny() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)).eval(), torch.randn(2, 3, 8, 8) * 1e-9
    with torch.no_grad():
        model[0].weight.mul_(1e-6)
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    assert sqnr_db(model(x) * 1e12, quantized(x) * 1e12) > 35


def test_state_dict_keeps_the_users_names() -> None:
    _, prepared, _ = prepared_block()
    users = {f"{name}.{kind}" for name, _ in block().named_modules() for kind in ("weight", "bias")}
    assert {n for n in prepared.state_dict() if "observer" not in n and "post_process" not in n} <= users
    state = convert_fx(prepared).state_dict()
    for name in ("stem.0", "left.0", "right", "head"):
        assert state[f"{name}.weight"].dtype is torch.int8
        assert state[f"{name}.bias"].dtype is (torch.float32 if name == "head" else torch.int32)


def test_inference_mode_eval_and_threads_change_nothing() -> None:
    _, prepared, x = prepared_block()
    quantized = convert_fx(prepared).eval()
    expected = quantized(x)
    with torch.inference_mode():
        assert torch.equal(quantized(x), expected)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(quantized(x), expected)
    finally:
        torch.set_num_threads(threads)


class Pyramid(nn.Module):
    """The sizes to resize to are those of other tensors, in three ways of writing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.deep(F.max_pool2d(y, 2))
        a = F.interpolate(z, size=y.shape[-2:], mode="bilinear", align_corners=True)
        b = F.interpolate(z, size=(x.size(2), x.size(3)), mode="nearest")
        return a + b + F.interpolate(y, size=x.size()[2:], mode="bilinear")


def test_an_image_is_resized_to_the_size_of_another() -> None:
    model, x = Pyramid().eval(), torch.rand(2, 3, 11, 14)
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False)
    after = stages(prepared)
    for other in (x, torch.rand(1, 3, 17, 8)):
        assert sqnr_db(model(other), after["lower"](other)) > 25
        assert torch.equal(after["fold"](other), after["lower"](other))
    assert explain(convert_fx(prepared)).float_rows == ()


class Sources(nn.Module):
    """An input and a value of a float op, each read by a convolution and by others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = nn.functional.softmin(self.first(x), 1)
        return x, y, y.sum(1), self.second(y)


def test_float_values_stay_exact_where_they_are_read_in_float() -> None:
    x = torch.randn(2, 3, 5, 6)
    prepared = calibrate(prepare_fx(Sources().eval(), get_default_qconfig_mapping(), (x,)), [x], progress=False)
    unchanged, shares, total, _ = convert_fx(prepared)(x)
    assert torch.equal(unchanged, x)
    torch.testing.assert_close(total, torch.ones(2, 5, 6), rtol=0, atol=1e-6)  # codes would add up to within 1/255
    torch.testing.assert_close(shares.sum(1), total)


class FloatAmongIntegers(nn.Module):
    """Ops that stay float although integers come in and go out: a mean over channels, and what the user excluded."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 6, 1)
        self.act = nn.ReLU()
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(torch.mean(self.act(y) * y, 1))


def test_what_stays_float_is_not_folded_between_integers() -> None:
    model, x = FloatAmongIntegers().eval(), torch.randn(4, 6, 6, 6)
    mapping = get_default_qconfig_mapping().set_module_name("act", None)
    quantized = convert_fx(calibrate(prepare_fx(model, mapping, (x,)), [x], progress=False))
    assert sqnr_db(model(x), quantized(x)) > 25
    reasons = {row.op: row.reason for row in explain(quantized).float_rows}
    assert list(reasons) == ["relu", "mean"]
    assert "qconfig is None" in reasons["relu"]
    assert "a mean over dimensions (1,) of 4" in reasons["mean"]


def test_export_and_compile_see_kernels_as_ops() -> None:
    _, prepared, x = prepared_block()
    quantized = convert_fx(prepared)
    exported = torch.export.export(quantized, (x,))
    called = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert called[0] == "fxquant.quantize.default"
    assert called.count("fxquant.conv2d.default") == 3
    assert torch.equal(exported.module()(x), quantized(x))
    compiled = torch.compile(quantized, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), quantized(x))
