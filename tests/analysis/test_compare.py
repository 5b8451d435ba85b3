"""compare: which value stands for which, both kinds of error, and that models are left as they are."""

from __future__ import annotations

import copy
import math
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import Written
from torch import Tensor, nn

from fxquant import (
    absorb_biases,
    calibrate,
    compare,
    convert_fx,
    convert_to_reference_fx,
    draw,
    equalize_channels,
    fuse_fx,
    get_default_qconfig_mapping,
    prepare_fx,
    report,
    smooth_quant,
)
from fxquant.analysis.measures import sqnr_db
from fxquant.errors import ConfigError, InputError
from fxquant.plugin import changing, name_of, note_rescaling, scale
from fxquant.qparams import dequantize

IMAGES = torch.linspace(-1, 1.2, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8).sin()


class Block(nn.Module):
    """A residual block whose relu is called twice, as torchvision writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.relu, self.head = nn.ReLU(), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)) + x)
        logits: Tensor = self.head(y.mean((2, 3)))
        return logits


def prepared_of(model: nn.Module, *inputs: Any) -> nn.Module:
    return calibrate(prepare_fx(model, get_default_qconfig_mapping(), inputs), [inputs], progress=False)


@pytest.fixture
def block() -> Block:
    torch.manual_seed(0)
    return Block().eval()


def test_fused_nodes_are_held_against_the_last_call_that_they_absorbed(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    rows = {row.node: row for row in compare(block, quantized, IMAGES).rows}
    first = block.relu(block.bn1(block.conv1(IMAGES)))
    second = block.relu(block.bn2(block.conv2(first)) + IMAGES)
    for name, expected in (("conv1", first), ("conv2", second)):
        node = next(n for n in quantized.int8.graph.nodes if n.name == name)
        partial = copy.deepcopy(quantized.int8)
        value = _value(partial, name, IMAGES)
        assert rows[name].accumulated.sqnr_db == pytest.approx(
            sqnr_db(expected, dequantize(value, node.meta["qparams"])), abs=1e-3
        )
    assert rows["conv2"].absorbed == ("BatchNorm2d", "add", "ReLU")
    assert next(iter(rows.values())).place == "x"


def _value(gm: Any, name: str, *inputs: Tensor) -> Tensor:
    seen: dict[str, Tensor] = {}
    gm.get_submodule(name).register_forward_hook(lambda module, args, value: seen.update(value=value))
    gm.node_by_node(*inputs)
    return seen["value"]


def test_the_first_layer_makes_all_of_its_error_itself_and_later_ones_only_a_part(block: Block) -> None:
    rows = {row.node: row for row in compare(block, convert_fx(prepared_of(block, IMAGES)), IMAGES).rows}
    assert rows["quantize"].alone.sqnr_db == rows["quantize"].accumulated.sqnr_db
    assert rows["conv1"].alone.sqnr_db == pytest.approx(rows["conv1"].accumulated.sqnr_db, abs=1e-6)
    assert rows["conv2"].alone.sqnr_db > rows["conv2"].accumulated.sqnr_db + 0.1


def test_a_broken_layer_is_named(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    with torch.no_grad():
        broken = quantized.get_submodule("int8.conv2")
        broken.weight.copy_(broken.weight.roll(1, 0))
        broken.derive()
    comparison = compare(block, quantized, IMAGES)
    assert [row.place for row in comparison.worst(1)] == ["conv2"]
    assert [row.place for row in comparison.worst(1, by="weight_db")] == ["conv2"]
    assert "conv2" in str(comparison).splitlines()[-1]


def test_weights_are_those_with_the_batch_norm_folded(block: Block) -> None:
    torch.nn.init.uniform_(block.bn1.weight, 0.5, 30)
    rows = {row.node: row for row in compare(block, convert_fx(prepared_of(block, IMAGES)), IMAGES).rows}
    assert all(35 < rows[name].weight.sqnr_db < 60 for name in ("conv1", "conv2", "head"))
    assert all(rows[name].weight.saturated == 0 for name in ("conv1", "conv2", "head"))


def test_values_beyond_what_was_calibrated_are_counted(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    row = compare(block, quantized, IMAGES * 4).rows[0]
    q = quantized.int8.quantize.constant("q")
    real = IMAGES * 4
    beyond = (real < (-q.zero_point - 0.5) * q.scale) | (real > (255.5 - q.zero_point) * q.scale)
    assert row.accumulated.saturated == pytest.approx(beyond.double().mean().item())
    assert row.accumulated.saturated > 0.1


def test_batches_add_up(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    whole = compare(block, quantized, IMAGES)
    parts = compare(block, quantized, (part for part in IMAGES.split(1)))
    assert [row.accumulated.count for row in parts.rows] == [row.accumulated.count for row in whole.rows]
    for one, other in zip(parts.to_dict(), whole.to_dict(), strict=True):
        assert one["sqnr_db"] == pytest.approx(other["sqnr_db"], abs=1e-2)
        assert one["alone_db"] == pytest.approx(other["alone_db"], abs=1e-2)


def test_a_prepared_a_reference_and_a_fused_model(block: Block) -> None:
    prepared = prepared_of(block, IMAGES)
    converted = compare(block, convert_fx(prepared), IMAGES)
    before = copy.deepcopy(prepared.state_dict())
    for model in (prepared, convert_to_reference_fx(prepared)):
        reference = compare(block, model, IMAGES)
        for one, other in zip(reference.rows, converted.rows, strict=True):
            assert one.accumulated.sqnr_db == pytest.approx(other.accumulated.sqnr_db, abs=0.5)
            assert one.alone.sqnr_db == pytest.approx(other.alone.sqnr_db, abs=0.5)
    assert all(torch.equal(value, before[name]) for name, value in prepared.state_dict().items())
    fused = compare(block, fuse_fx(block, example_inputs=(IMAGES,)), IMAGES)
    assert len(fused.rows) > 4
    assert fused.outputs.sqnr_db == math.inf


def test_neither_model_is_changed_and_no_hook_stays(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    states = copy.deepcopy((block.state_dict(), quantized.state_dict()))
    graphs = str(quantized.graph), str(quantized.int8.graph)
    compare(block, quantized, IMAGES)
    for model, state in zip((block, quantized), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        for module in model.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks
    assert graphs == (str(quantized.graph), str(quantized.int8.graph))


class Rooted(nn.Module):
    """Its own code cannot be traced, and calls one of its blocks as often as the values say."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.block(x)
        for _ in range(int(float(x.detach().abs().sum()) > 0) + 1):
            y = self.block(y)
        return {"logits": self.head(y.mean((2, 3)))}


@pytest.mark.slow
def test_a_model_whose_own_code_runs_as_python() -> None:
    torch.manual_seed(0)
    model = Rooted().eval()
    quantized = convert_fx(prepared_of(model, IMAGES))
    comparison = compare(model, quantized, [IMAGES, IMAGES[:2]])
    counts = {row.place: row.accumulated.count for row in comparison.rows if row.op == "Int8Conv2d"}
    assert counts == {"block.0": 3 * 6 * 3 * 64}
    assert {row.place for row in comparison.rows} >= {"block.0", "head"}
    assert comparison.outputs.count == 6 * 4
    assert compare(model, quantized, IMAGES).outputs.sqnr_db == pytest.approx(_outputs_db(model, quantized), abs=1e-3)
    for part in (quantized, *quantized.modules()):
        assert not part._forward_pre_hooks


def _outputs_db(model: nn.Module, quantized: nn.Module) -> float:
    return sqnr_db(model(IMAGES)["logits"], quantized(IMAGES)["logits"])


def test_keyword_arguments_and_labels() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            y: Tensor = self.fc(x)
            return y if mask is None else y * mask

    model, x, mask = Masked().eval(), torch.linspace(-1, 1, 32).reshape(4, 8), torch.ones(4, 8)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), {"x": x, "mask": mask})
    quantized = convert_fx(calibrate(prepared, [{"x": x, "mask": mask}], progress=False))
    by_name = compare(model, quantized, {"mask": mask, "x": x})
    by_place = compare(model, quantized, [(x, mask, torch.arange(4))])
    assert by_name.to_dict() == by_place.to_dict()
    assert compare(model, quantized, UserDict(mask=mask, x=x)).to_dict() == by_name.to_dict()  # as tokenizers return it
    assert "fc" in {row.place for row in by_name.rows}


def test_what_cannot_be_compared_is_told(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    with pytest.raises(ConfigError, match="compare takes what convert_fx"):
        compare(block, block, IMAGES)
    with pytest.raises(ConfigError, match="no call in common"):
        compare(nn.Sequential(nn.Conv2d(3, 5, 1)).eval(), quantized, IMAGES)
    with pytest.raises(InputError, match="no batches"):
        compare(block, quantized, [])
    with pytest.raises(InputError, match="batch 1"):
        compare(block, quantized, [IMAGES, "image"])
    with pytest.raises(ConfigError, match="no number 'size'"):
        compare(block, quantized, IMAGES).worst(by="size")


class Outer(nn.Module):
    """Traceable itself, around a module whose code runs as Python."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 3, 1), Rooted()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(self.stem(x))["logits"]
        return logits


def test_parts_within_a_module_that_a_graph_calls() -> None:
    torch.manual_seed(0)
    model = Outer().eval()
    comparison = compare(model, convert_fx(prepared_of(model, IMAGES)), IMAGES)
    assert {row.place for row in comparison.rows} >= {"stem", "inner.block.0", "inner.head"}


def test_a_tuple_is_one_batch_and_refused_if_it_is_none(block: Block) -> None:
    quantized = convert_fx(prepared_of(block, IMAGES))
    assert compare(block, quantized, (IMAGES,)).outputs == compare(block, quantized, IMAGES).outputs
    with pytest.raises(InputError, match=r"4 values are no arguments.*pass a list"):
        compare(block, quantized, IMAGES.split(1))


def level(prepared: nn.Module, data: Any) -> nn.Module:
    """A correction as docs/add_a_pass.md has it: the middle of an MLP in other units."""
    with changing(prepared, "level") as gm:
        up, relu, down = (n for n in gm.graph.nodes if name_of(n) in ("linear", "relu"))
        s = torch.logspace(-0.5, 0.5, 32)
        scale(gm, up, "weight", s[:, None])
        scale(gm, up, "bias", s)
        scale(gm, down, "weight", 1 / s)
        for node in (up, relu):
            note_rescaling(node, -1, s)
    return prepared


def images_between(f: Any) -> nn.Module:
    """Convolutions, the channels between which differ in range, and far from 0."""
    layers = {"stem": nn.Conv2d(3, 16, 3), "depthwise": nn.Conv2d(16, 16, 3, groups=16), "last": nn.Conv2d(16, 8, 1)}
    with torch.no_grad():
        layers["stem"].weight.mul_(torch.logspace(0, 1.5, 16)[:, None, None, None])
        layers["stem"].bias.add_(20)  # type: ignore[union-attr]
    return Written(lambda m, x: m.last(f(m.depthwise(f(m.stem(x))))).mean((2, 3)), **layers)


def tokens_between(outside: Any) -> nn.Module:
    norm, layers = nn.LayerNorm(16), {"up": nn.Linear(16, 32), "down": nn.Linear(32, 16)}
    with torch.no_grad():
        norm.weight[3] *= 60
        layers["up"].weight[:, 3] /= 60
    return Written(lambda m, x: m.down(torch.relu(m.up(y := m.norm(x)))) + outside(y), norm=norm, **layers)


X = torch.randn(8, 10, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("build", "corrections", "x"),
    [
        (lambda: images_between(torch.relu), [equalize_channels], IMAGES),
        (lambda: images_between(nn.functional.relu6), [equalize_channels, equalize_channels], IMAGES),
        (lambda: images_between(torch.relu), [equalize_channels, absorb_biases], IMAGES),
        (lambda: tokens_between(torch.zeros_like), [smooth_quant], X),
        (lambda: tokens_between(lambda y: y / 60), [smooth_quant], X),
        (lambda: tokens_between(torch.zeros_like), [smooth_quant, level], X),
    ],
)
def test_values_that_a_correction_rescaled_are_held_against_the_float_ones_rescaled(
    build: Any, corrections: list[Any], x: Tensor
) -> None:
    torch.manual_seed(0)
    model = build()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    for correct in corrections:
        correct(prepared, [x])
    calibrate(prepared, [x], progress=False)
    for quantized in (convert_fx(prepared), prepared):
        comparison = compare(model, quantized, x)
        rows = {row.node: row for row in comparison.rows}
        assert all(row.accumulated.sqnr_db > 20 and row.alone.sqnr_db > 25 for row in rows.values()), str(comparison)
        assert all(row.weight.sqnr_db > 35 for row in rows.values() if row.weight), str(comparison)
        assert comparison.outputs.sqnr_db > 25
    assert sum(row.weight is not None for row in compare(model, convert_fx(prepared), x).rows) >= 2


def test_a_layer_of_an_equalized_model_is_still_to_blame_for_what_it_does() -> None:
    torch.manual_seed(0)
    model = images_between(torch.relu)
    prepared = equalize_channels(prepare_fx(model, get_default_qconfig_mapping(), (IMAGES,)), [IMAGES])
    quantized = convert_fx(calibrate(prepared, [IMAGES], progress=False))
    with torch.no_grad():
        broken = quantized.get_submodule("int8.depthwise")
        broken.weight.copy_(broken.weight.roll(1, 0))
        broken.derive()
    assert [row.place for row in compare(model, quantized, IMAGES).worst(1)] == ["depthwise"]


def test_a_norm_and_its_twin_both_stand_for_the_call() -> None:
    torch.manual_seed(0)
    model = tokens_between(lambda y: y / 60)
    prepared = smooth_quant(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X])
    rows = compare(model, convert_fx(calibrate(prepared, [X], progress=False)), X).rows
    assert [row.node for row in rows if row.place == "norm"] == ["norm", "norm_1"]


def test_a_model_that_is_a_graph_already(block: Block) -> None:
    """A GraphModule has a class of its own, which its copies do not share; an exported one refuses eval()."""
    for model in (torch.fx.symbolic_trace(block), torch.export.export(block, (IMAGES,)).module()):
        rows = compare(model, convert_fx(prepared_of(model, IMAGES)), IMAGES).rows
        assert [row.op for row in rows if row.weight] == ["Int8Conv2d", "Int8Conv2d", "Int8Linear"]


def test_nodes_have_the_names_that_they_are_drawn_under(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Rooted().eval()
    quantized = convert_fx(prepared_of(model, IMAGES))
    comparison = compare(model, quantized, IMAGES)
    assert len({row.node for row in comparison.rows}) == len(comparison.rows)
    assert '"sqnr alone"' in draw(quantized, tmp_path / "heat.html", heat=comparison).read_text()
    assert "block/" in report(model, quantized, IMAGES, tmp_path / "report.html").read_text()


def test_another_model_of_which_only_the_input_is_alike_is_refused(block: Block) -> None:
    with pytest.raises(ConfigError, match="no call in common"):
        compare(torch.fx.symbolic_trace(block), convert_fx(prepared_of(block, IMAGES)), IMAGES)
