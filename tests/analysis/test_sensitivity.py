"""sensitivity and suggest: they find the layer that was made bad, and say what they cannot do."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import (
    QConfigMapping,
    calibrate,
    compare,
    convert_fx,
    explain,
    get_default_qconfig_mapping,
    prepare_fx,
    report,
    sensitivity,
    suggest,
)
from fxquant.analysis.layers import layers_of
from fxquant.analysis.measures import sqnr_db
from fxquant.errors import ConfigError, InputError, TargetError
from fxquant.qconfig import per_channel_dynamic_qconfig, per_channel_weight_only_qconfig

IMAGES = torch.linspace(-1, 1.2, 8 * 3 * 8 * 8).reshape(8, 3, 8, 8).sin()
BATCHES = list(IMAGES.split(4))


class Net(nn.Module):
    """Of the outputs of `bad` one is a thousand times as large as the others, and `after` makes up for it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.bad, self.after = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 4)
        with torch.no_grad():
            self.bad.weight[0] *= 1000
            self.after.weight[:, 0] /= 1000

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        z = self.after(self.bad(y))
        logits: Tensor = self.fc((z + y).mean((2, 3)))
        return logits


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def converted(model: nn.Module, mapping: QConfigMapping) -> Any:
    return convert_fx(calibrate(prepare_fx(model, mapping, (IMAGES[:1],)), BATCHES, progress=False))


@pytest.mark.slow
def test_the_worst_layer_is_the_one_that_reads_the_bad_value(net: Net) -> None:
    result = sensitivity(net, BATCHES, how="both", progress=False)
    assert result.worst(1)[0].layer.name == "after"  # what it reads in float is not rounded either
    int8 = converted(net, get_default_qconfig_mapping())
    better = converted(net, result.left_float(2))
    assert result.int8 == pytest.approx(sqnr_db(net(IMAGES), int8(IMAGES)), abs=1e-6)
    assert sqnr_db(net(IMAGES), better(IMAGES)) > result.int8 + 5
    assert result.rows[1].float == pytest.approx(sqnr_db(net(IMAGES), better(IMAGES)), abs=1e-6)
    assert "after" in str(result).splitlines()[3]


def test_alone_is_the_model_with_one_layer_in_int8(net: Net) -> None:
    result = sensitivity(net, BATCHES, how="alone", progress=False)
    assert [row.float for row in result.rows] == [None] * 5
    alone = {row.layer.name: row.alone for row in result.rows}
    assert list(alone.values()) == sorted(alone.values())
    only = QConfigMapping().set_module_name("fc", get_default_qconfig_mapping().global_qconfig)
    assert alone["fc"] == pytest.approx(sqnr_db(net(IMAGES), converted(net, only)(IMAGES)), abs=1e-6)


def test_every_layer_can_be_set_by_its_name_and_is_float_then(net: Net) -> None:
    prepared = calibrate(prepare_fx(net, get_default_qconfig_mapping(), (IMAGES[:1],)), BATCHES, progress=False)
    assert [layer.name for layer in layers_of(prepared)] == ["stem.0", "bad", "after", "mean", "fc"]
    assert [layer.name for layer in layers_of(prepared, depth=1)] == ["stem", "bad", "after", "mean", "fc"]
    result = sensitivity(net, BATCHES, prepared=prepared, progress=False)
    quantized = converted(net, result.left_float(5))
    assert [row.precision for row in explain(quantized).rows if row.op in ("conv2d", "linear")] == ["float"] * 4


def test_calls_of_functions_are_layers_too() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(
                torch.matmul(self.fc(x), x.transpose(-1, -2)) + torch.matmul(x, x.transpose(-1, -2)), -1
            )

    torch.manual_seed(0)
    x = torch.randn(2, 4, 8)
    model = Functions().eval()
    result = sensitivity(model, [x], how="both", progress=False)
    names = {row.layer.name for row in result.rows}
    assert names == {"fc", "matmul", "matmul_1"}
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False)
    for row in result.rows:
        assert row.alone is not None
        assert math.isfinite(row.alone), row.layer
    floats = explain(convert_fx(prepared, qconfig_mapping=result.left_float(len(names)))).float_rows
    assert sum(row.op == "matmul" for row in floats) == 2


def test_a_metric_of_the_users_own_with_labels(net: Net) -> None:
    labelled = [(batch, net(batch).argmax(1)) for batch in BATCHES]

    def accuracy(model: nn.Module, batches: list[Any]) -> float:
        return sum((model(x).argmax(1) == y).double().mean().item() for x, y in batches) / len(batches)

    result = sensitivity(net, iter(labelled), accuracy, progress=False)
    assert result.int8 == accuracy(converted(net, get_default_qconfig_mapping()), labelled)
    with pytest.raises(ConfigError, match="returned a str"):
        sensitivity(net, labelled, lambda model, batches: "good", progress=False)  # type: ignore[arg-type,return-value]


@pytest.mark.slow
def test_suggest_meets_a_target_with_as_few_layers_as_it_can(net: Net) -> None:
    base = sqnr_db(net(IMAGES), converted(net, get_default_qconfig_mapping())(IMAGES))
    suggestion = suggest(net, BATCHES, target=base + 5, progress=False)
    assert {layer.name for layer in suggestion.left_float} <= {"bad", "after"}
    assert suggestion.metric >= base + 5 > suggestion.int8_metric
    again = suggest(net, BATCHES, target=base + 5, progress=False)
    assert again.mapping == suggestion.mapping
    assert sqnr_db(net(IMAGES), converted(net, suggestion.mapping)(IMAGES)) == pytest.approx(
        suggestion.metric, abs=1e-6
    )
    assert suggestion.seconds > 0
    assert "of 5 layers in float" in str(suggestion)


def test_suggest_changes_nothing_where_int8_is_good_enough(net: Net) -> None:
    suggestion = suggest(net, BATCHES, max_drop=1.0, progress=False)
    assert suggestion.left_float == ()
    assert suggestion.float_metric == 1.0


@pytest.mark.slow
def test_suggest_keeps_a_margin_and_says_where_the_data_are_too_few(net: Net) -> None:
    with pytest.raises(TargetError, match=r"8 examples are too few to expect 0.98 .* give 1\d\d or more"):
        suggest(net, BATCHES, max_drop=0.02, progress=False)
    assert suggest(net, BATCHES, max_drop=0.02, confidence=0, progress=False).expected is None
    suggestion = suggest(net, BATCHES, max_drop=0.5, progress=False)
    assert suggestion.expected is not None
    assert 0.5 <= suggestion.expected < suggestion.metric
    assert "on as many other examples: " in str(suggestion)
    with pytest.raises(TargetError, match=r"1 examples are too few to expect 20 .* give 2 or more"):
        suggest(net, [IMAGES[:1]], target=20.0, progress=False)
    decibels = suggest(net, BATCHES, target=20.0, progress=False)
    assert decibels.expected is not None
    assert 20.0 <= decibels.expected < decibels.metric
    with pytest.raises(ConfigError, match="confidence=1"):
        suggest(net, BATCHES, max_drop=0.5, confidence=1.0, progress=False)


@pytest.mark.slow
def test_suggest_with_a_number_of_layers(net: Net) -> None:
    blocks = sensitivity(net, BATCHES, depth=1, progress=False)
    assert suggest(net, BATCHES, floats=1, ranking=blocks, progress=False).left_float == (blocks.rows[0].layer,)
    suggestion = suggest(net, BATCHES, floats=2, progress=False)
    assert suggestion.left_float[0].name == "after"
    assert len(suggestion.left_float) == 2
    assert suggestion.target is None


class Linears(Net):
    """The same of linear layers, of which weight-only kernels exist."""

    def __init__(self) -> None:
        super().__init__()
        self.bad, self.after = nn.Linear(8, 8), nn.Linear(8, 8)
        with torch.no_grad():
            self.bad.weight[0] *= 1000
            self.after.weight[:, 0] /= 1000

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).mean((2, 3))
        logits: Tensor = self.fc(self.after(self.bad(y)) + y)
        return logits


@pytest.mark.slow
def test_wider_layers_keep_integer_weights_where_that_is_enough() -> None:
    torch.manual_seed(0)
    model = Linears().eval()
    base = sqnr_db(model(IMAGES), converted(model, get_default_qconfig_mapping())(IMAGES))
    in_float = suggest(model, BATCHES, target=base + 5, progress=False)
    wider = suggest(model, BATCHES, target=base + 5, wider=per_channel_weight_only_qconfig, progress=False)
    assert [layer.name for layer in in_float.left_float] == [layer.name for layer in wider.widened] == ["after"]
    assert wider.left_float == ()
    assert wider.metric >= base + 5
    assert "1 wider: after\n" in str(wider)
    quantized = converted(model, wider.mapping)
    assert [row.place for row in explain(quantized).rows if row.precision == "weight-only"] == ["after"]
    assert sqnr_db(model(IMAGES), quantized(IMAGES)) == pytest.approx(wider.metric, abs=1e-6)


@pytest.mark.slow
def test_a_layer_without_a_kernel_for_wider_stays_float(net: Net) -> None:
    base = sqnr_db(net(IMAGES), converted(net, get_default_qconfig_mapping())(IMAGES))
    suggestion = suggest(net, BATCHES, target=base + 5, wider=per_channel_weight_only_qconfig, progress=False)
    assert [layer.name for layer in suggestion.left_float] == ["after"]
    assert suggestion.widened == ()
    blocks = suggest(net, BATCHES, target=base + 5, depth=1, wider=per_channel_dynamic_qconfig, progress=False)
    assert blocks.metric >= base + 5
    for given in ({"floats": 1}, {"target": 20.0, "prepared": prepare_fx(net, QConfigMapping(), (IMAGES,))}):
        with pytest.raises(ConfigError, match="neither floats= nor prepared="):
            suggest(net, BATCHES, wider=per_channel_dynamic_qconfig, progress=False, **given)


def test_a_target_that_cannot_be_met_is_an_error_that_names_the_best(net: Net) -> None:
    with pytest.raises(TargetError, match=r"with 1 of 5 layers in float it is \d"):
        suggest(net, BATCHES, target=200.0, most=1, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of"),
        ({"target": 1.0, "floats": 2}, "give one of"),
        ({"floats": -1}, "at least 0"),
        ({"max_drop": 1.0, "metric": "sqnr"}, "infinite"),
        ({"target": 1.0, "metric": "psnr"}, "'psnr' is none of 'sqnr', 'agreement'"),
    ],
)
def test_arguments_of_suggest_that_make_no_sense(net: Net, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suggest(net, BATCHES, progress=False, **arguments)


def test_arguments_of_sensitivity_that_make_no_sense(net: Net) -> None:
    prepared = prepare_fx(net, get_default_qconfig_mapping(), (IMAGES[:1],))
    with pytest.raises(ConfigError, match="how='each'"):
        sensitivity(net, BATCHES, how="each", progress=False)
    with pytest.raises(ConfigError, match="goes to prepared="):
        sensitivity(prepared, BATCHES, progress=False)
    with pytest.raises(ConfigError, match="give one of the two"):
        sensitivity(net, BATCHES, prepared=prepared, qconfig_mapping=get_default_qconfig_mapping(), progress=False)
    with pytest.raises(InputError, match="no batches"):
        sensitivity(net, [], progress=False)
    with pytest.raises(ConfigError, match="nothing runs in int8"):
        sensitivity(net, BATCHES, qconfig_mapping=QConfigMapping(), progress=False)


@pytest.mark.slow
def test_the_report_is_one_page_without_network_that_escapes_what_is_the_users(net: Net, tmp_path: Path) -> None:
    Net.__name__, name = "Net<script>", Net.__name__
    try:
        result = sensitivity(net, BATCHES, how="both", progress=False)
        suggestion = suggest(net, BATCHES, floats=1, progress=False)
        quantized = converted(net, get_default_qconfig_mapping().set_module_name("fc", None))
        path = report(net, quantized, BATCHES, tmp_path / "a" / "net.html", sensitivity=result, suggestion=suggestion)
    finally:
        Net.__name__ = name
    page = path.read_text()
    assert "Net&lt;script&gt;" in page
    assert "Net<script>" not in page
    for place in ("stem.0", "bad", "after", "fc", "its qconfig is None"):
        assert f">{place}" in page
    assert re.search(r"Most error of its own: [\w.]+ \(\d+\.\d dB\),", page)
    assert re.search(r"Most values beyond the range: (none|[\w.]+ \(\d\.\d\d%\))", page)
    assert "src=" not in page
    assert 'href="http' not in page
    assert str(compare(net, quantized, BATCHES).outputs.sqnr_db)[:4] in page
    assert [each.name for each in path.parent.iterdir()] == ["net.html"]


@pytest.mark.slow
def test_batches_may_be_a_tuple_as_split_gives_them(net: Net) -> None:
    def how_many(model: nn.Module, batches: list[Tensor]) -> float:
        return float(sum(len(model(batch)) for batch in batches))

    assert suggest(net, IMAGES.split(2), target=8.0, metric=how_many, progress=False).metric == 8
    assert sensitivity(net, IMAGES.split(4), progress=False).int8 == sensitivity(net, BATCHES, progress=False).int8
