"""What users tell beyond the qconfig mapping: standalone and custom modules, integers at the border, attributes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import (
    ConvertCustomConfig,
    FuseCustomConfig,
    ObservedGraphModule,
    PrepareCustomConfig,
    QConfigMapping,
    QuantType,
    calibrate,
    convert_fx,
    convert_to_reference_fx,
    default_dynamic_qconfig,
    explain,
    fuse_fx,
    get_default_qconfig,
    get_default_qconfig_mapping,
    ops,
    prepare_fx,
)
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import ConfigError, ConfigWarning, InputError

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
MAPPING = get_default_qconfig_mapping()


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.label = "inner"

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.inner = Inner()
        self.last = nn.Conv2d(4, 2, 1)
        self.label = "outer"

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.inner(self.first(x)))
        return y


def converted(model: nn.Module, custom: Any = None, mapping: Any = MAPPING, **kwargs: Any) -> Any:
    prepared = calibrate(prepare_fx(model, mapping, (X,), custom), [X], progress=False)
    return convert_fx(prepared, **kwargs)


# Standalone modules

INNER_INPUT = (torch.randn(1, 4, 8, 8),)


@pytest.mark.parametrize("by_class", [False, True])
def test_a_standalone_module_is_quantized_on_its_own(by_class: bool) -> None:
    model = Outer().eval()
    custom = PrepareCustomConfig()
    if by_class:
        custom.set_standalone_module_class(Inner, None, INNER_INPUT, None, None)
    else:
        custom.set_standalone_module_name("inner", None, INNER_INPUT, None, None)
    prepared = prepare_fx(model, MAPPING, (X,), custom)
    assert isinstance(prepared.inner, ObservedGraphModule)
    torch.testing.assert_close(prepared(X), model(X))
    quantized = convert_fx(prepared)
    assert sqnr_db(model(X), quantized(X)) > 30
    [row] = explain(quantized).float_rows
    assert (row.node, row.reason) == ("inner", "it is a standalone module, prepared on its own")
    assert [row.precision for row in explain(quantized.inner).rows] == ["boundary", "int8"]
    assert not isinstance(model.inner, ObservedGraphModule)


def test_a_standalone_module_with_a_qconfig_of_its_own() -> None:
    custom = PrepareCustomConfig().set_standalone_module_name("inner", QConfigMapping(), INNER_INPUT, None, None)
    quantized = converted(Outer().eval(), custom)
    assert [row.precision for row in explain(quantized.inner).rows] == ["float", "float"]


@pytest.mark.parametrize(("inputs", "outputs"), [([0], []), ([], [0]), ([0], [0])])
def test_a_standalone_module_may_take_and_give_integers(inputs: list[int], outputs: list[int]) -> None:
    model = Outer().eval()
    own = PrepareCustomConfig().set_input_quantized_indexes(inputs).set_output_quantized_indexes(outputs)
    custom = PrepareCustomConfig().set_standalone_module_name("inner", None, INNER_INPUT, own, None)
    quantized = converted(model, custom)
    assert sqnr_db(model(X), quantized(X)) > 30
    precisions = [row.precision for row in explain(quantized.inner).rows]
    assert precisions.count("boundary") == 1 - len(inputs)


# Integers at the border


def test_inputs_and_outputs_as_integers() -> None:
    model = Outer().eval()
    custom = PrepareCustomConfig().set_input_quantized_indexes([0]).set_output_quantized_indexes([0])
    quantized, plain = converted(model, custom), converted(model)
    q_in, q_out = quantized.meta["input_qparams"][0], quantized.meta["output_qparams"][0]
    integers = quantized(ops.quantize(X, q_in))
    assert integers.dtype is torch.uint8
    assert (ops.dequantize(integers, q_out) - plain(X)).abs().max() <= 0.501 * q_out.scale
    assert {row.precision for row in explain(quantized).rows} == {"int8"}
    with pytest.raises(InputError, match="uint8"):
        quantized(X)
    reference = convert_to_reference_fx(calibrate(prepare_fx(model, MAPPING, (X,), custom), [X], progress=False))
    difference = reference(ops.quantize(X, q_in)).int() - integers.int()
    assert difference.abs().max() <= 1


def test_integers_at_the_border_of_float_ops() -> None:
    model = nn.Sequential(nn.Identity()).eval()
    custom = PrepareCustomConfig().set_input_quantized_indexes([0]).set_output_quantized_indexes([0])
    quantized = converted(model, custom)
    integers = ops.quantize(X, quantized.meta["input_qparams"][0])
    assert torch.equal(quantized(integers), integers)


def test_an_index_that_no_input_has() -> None:
    with pytest.raises(ConfigError, match=r"input_quantized_indexes has \[1\]; the model has 1"):
        prepare_fx(Outer().eval(), MAPPING, (X,), PrepareCustomConfig().set_input_quantized_indexes([1]))


# Custom modules


class Scaled(nn.Module):
    """A float module that no op table knows."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x if x.sum() > -1e9 else x


class ObservedScaled(nn.Module):
    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    @classmethod
    def from_float(cls, module: Any) -> ObservedScaled:
        assert module.qconfig is not None
        return cls(module.factor.detach())


class QuantizedScaled(nn.Module):
    def __init__(self, factor: Tensor, q: Any) -> None:
        super().__init__()
        self.factor = torch.round(factor)
        self.q = q

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    @classmethod
    def from_observed(cls, module: Any) -> QuantizedScaled:
        observer = module.activation_post_process
        return cls(module.factor, observer.qparams() if observer is not None else None)


class WithScaled(Outer):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Scaled()  # type: ignore[assignment]


CUSTOM = PrepareCustomConfig().set_float_to_observed_mapping(Scaled, ObservedScaled)
CONVERT = ConvertCustomConfig().set_observed_to_quantized_mapping(ObservedScaled, QuantizedScaled)


def test_a_custom_module_becomes_observed_and_then_quantized() -> None:
    model = WithScaled().eval()
    prepared = calibrate(prepare_fx(model, MAPPING, (X,), CUSTOM), [X], progress=False)
    assert isinstance(prepared.inner, ObservedScaled)
    quantized = convert_fx(prepared, CONVERT)
    assert isinstance(quantized.inner, QuantizedScaled)
    greatest = (2 * model.first(X)).max()
    assert (quantized.inner.q.quant_max - quantized.inner.q.zero_point) * quantized.inner.q.scale == pytest.approx(
        float(greatest), rel=0.05
    )
    assert sqnr_db(model(X), quantized(X)) > 30
    [row] = explain(quantized).float_rows
    assert row.reason == "it is a custom module: its own classes say how it is quantized"


def test_a_custom_module_without_a_qconfig_stays_itself() -> None:
    mapping = get_default_qconfig_mapping().set_object_type(Scaled, None)
    quantized = converted(WithScaled().eval(), CUSTOM, mapping, convert_custom_config=CONVERT)
    assert isinstance(quantized.inner, Scaled)


def test_the_quant_type_decides_which_class_is_taken() -> None:
    custom = PrepareCustomConfig().set_float_to_observed_mapping(Scaled, ObservedScaled, QuantType.DYNAMIC)
    assert isinstance(prepare_fx(WithScaled().eval(), MAPPING, (X,), custom).inner, Scaled)
    mapping = get_default_qconfig_mapping().set_object_type(Scaled, default_dynamic_qconfig)
    prepared = prepare_fx(WithScaled().eval(), mapping, (X,), custom)
    assert isinstance(prepared.inner, ObservedScaled)


def test_a_class_that_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="ReLU has no from_float"):
        PrepareCustomConfig().set_float_to_observed_mapping(Scaled, nn.ReLU)
    with pytest.raises(ConfigError, match="ReLU has no from_observed"):
        ConvertCustomConfig().set_observed_to_quantized_mapping(ObservedScaled, nn.ReLU)


# Attributes


def test_attributes_are_preserved_through_copies() -> None:
    prepared = prepare_fx(Outer().eval(), MAPPING, (X,), PrepareCustomConfig().set_preserved_attributes(["label"]))
    assert copy.deepcopy(prepared).label == "outer"
    calibrate(prepared, [X], progress=False)
    quantized = convert_fx(prepared, ConvertCustomConfig().set_preserved_attributes(["label"]))
    assert copy.deepcopy(quantized).label == "outer"
    assert not hasattr(convert_fx(prepared), "label")
    fused = fuse_fx(Outer().eval(), FuseCustomConfig().set_preserved_attributes(["label"]))
    assert copy.deepcopy(fused).label == "outer"


def test_an_attribute_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no attribute 'lable' to preserve; did you mean label"):
        prepare_fx(Outer().eval(), MAPPING, (X,), PrepareCustomConfig().set_preserved_attributes(["lable"]))


# Dict forms


def test_dicts_say_the_same_and_are_warned_of() -> None:
    own = PrepareCustomConfig().set_input_quantized_indexes([0])
    custom = (
        PrepareCustomConfig()
        .set_standalone_module_name("inner", MAPPING, INNER_INPUT, own, None)
        .set_standalone_module_class(Inner, None, INNER_INPUT)
        .set_float_to_observed_mapping(Scaled, ObservedScaled, QuantType.QAT)
        .set_non_traceable_module_names(["last"])
        .set_non_traceable_module_classes([Scaled])
        .set_output_quantized_indexes([0])
        .set_preserved_attributes(["label"])
    )
    assert PrepareCustomConfig.from_dict(custom.to_dict()) == custom
    assert ConvertCustomConfig.from_dict(CONVERT.to_dict()) == CONVERT
    fuse = FuseCustomConfig().set_preserved_attributes(["label"])
    assert FuseCustomConfig.from_dict(fuse.to_dict()) == fuse
    model = WithScaled().eval()
    with pytest.warns(FutureWarning) as caught:
        prepared = prepare_fx(model, MAPPING.to_dict(), (X,), CUSTOM.to_dict())
    with pytest.warns(FutureWarning) as caught_later:
        quantized = convert_fx(calibrate(prepared, [X], progress=False), CONVERT.to_dict())
    assert isinstance(quantized.inner, QuantizedScaled)
    deprecated = [w for w in (*caught, *caught_later) if w.category is FutureWarning]
    assert len(deprecated) == 3
    assert {w.filename for w in deprecated} == {__file__}


@pytest.mark.parametrize("kind", [PrepareCustomConfig, ConvertCustomConfig, FuseCustomConfig])
def test_unknown_keys_of_a_dict(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"unknown keys \['nosuch'\]"):
        kind.from_dict({"nosuch": 1})


# At conversion


def test_a_mapping_at_conversion_leaves_layers_in_float() -> None:
    model = Outer().eval()
    prepared = calibrate(prepare_fx(model, MAPPING, (X,)), [X], progress=False)
    partly = convert_fx(prepared, qconfig_mapping=get_default_qconfig_mapping().set_module_name("inner", None))
    rows = {row.place: row for row in explain(partly).float_rows}
    assert list(rows) == ["inner.conv", "inner"]
    assert "None at conversion, by set_module_name('inner', None)" in rows["inner.conv"].reason
    assert sqnr_db(model(X), partly(X)) > 40
    assert torch.equal(partly.state_dict()["inner.conv.weight"], model.inner.conv.weight)
    assert explain(convert_fx(prepared)).float_rows == ()


def test_nothing_is_left_of_int8_if_all_is_excluded_at_conversion() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2)).eval()
    prepared = calibrate(prepare_fx(model, MAPPING, (X,)), [X], progress=False)
    left = get_default_qconfig_mapping().set_module_name("0", None).set_module_name("3", None)
    quantized = convert_fx(prepared, qconfig_mapping=left)
    torch.testing.assert_close(quantized(X), model(X))
    assert {row.precision for row in explain(quantized).rows} == {"float"}


@pytest.mark.parametrize(
    "mapping",
    [
        QConfigMapping().set_global(get_default_qconfig("qnnpack")),
        QConfigMapping().set_global(get_default_qconfig()),  # lacks the types that the default mapping sets
    ],
)
def test_a_mapping_at_conversion_that_is_another_one(mapping: QConfigMapping) -> None:
    prepared = prepare_fx(Outer().eval(), MAPPING, (X,))
    with pytest.raises(ConfigError, match="prepared with"):
        convert_fx(prepared, qconfig_mapping=mapping)


def test_original_weights_are_kept() -> None:
    model = Outer().eval()
    quantized = converted(model, keep_original_weights=True)
    lookup = copy.deepcopy(quantized).original_weights_lookup
    assert set(lookup) == {"first.weight", "inner.conv.weight", "last.weight"}
    weight, bias = lookup["inner.conv.weight"]
    assert torch.equal(weight, model.inner.conv.weight)
    assert torch.equal(bias, model.inner.conv.bias)
    assert not hasattr(converted(model), "original_weights_lookup")


def test_settings_without_effect_are_warned_of() -> None:
    with pytest.warns(ConfigWarning, match="_equalization_config has no effect"):
        prepare_fx(Outer().eval(), MAPPING, (X,), _equalization_config=QConfigMapping())


def test_fuse_needs_no_inputs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    fused = fuse_fx(model)
    torch.testing.assert_close(fused(X), model(X))
    assert [node.name for node in fused.graph.nodes if node.op.startswith("call_")] == [
        "conv2d",
        "relu",
        "flatten",
        "linear",
    ]
