"""torch.ao's own objects do what ours do, while torch ships them."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import (
    ConvertCustomConfig,
    ObservedGraphModule,
    PrepareCustomConfig,
    QConfigMapping,
    QuantType,
    calibrate,
    convert_fx,
    explain,
    interop,
    interop_layers,
    prepare_fx,
    prepare_qat_fx,
)
from fxquant.demo.metrics import sqnr_db
from fxquant.errors import ConfigWarning
from fxquant.observer import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver, PlaceholderObserver

pytest.importorskip("torch.ao.quantization.quantize_fx")
ao: Any = torch.ao.quantization
warnings.filterwarnings("ignore", message=".*(reduce_range|deprecated).*")

ROOT = Path(__file__).parents[1]
X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
QCONFIGS = [name for name in dir(ao.qconfig) if isinstance(getattr(ao.qconfig, name), ao.QConfig)]
OBSERVERS = [name for name in ao.observer.__all__ if name.startswith("default_") and "eval" not in name]
FAKE_QUANTIZES = [name for name in ao.fake_quantize.__all__ if "default_" in name or name.startswith("fused_")]


def net() -> nn.Module:
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Sigmoid(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(144, 5)).eval()


def test_nothing_imports_torch_ao() -> None:
    for path in [*ROOT.glob("fxquant/**/*.py"), *ROOT.glob("passes/**/*.py")]:
        if path.is_relative_to(ROOT / "fxquant" / "bench" / "contestants"):
            continue  # the one place that runs torch.ao, to be compared with
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith(("torch.ao", "torch.quantization")) for name in names), path
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.ao")), path


@pytest.mark.parametrize("name", QCONFIGS)
def test_a_qconfig_makes_our_observers_of_the_same_arguments(name: str) -> None:
    theirs = getattr(ao.qconfig, name)
    ours = interop.qconfig(theirs)
    assert ours is not None
    for factory, made in ((theirs.activation, ours.activation()), (theirs.weight, ours.weight and ours.weight())):
        if factory is None:
            assert made is None
            continue
        given = factory()
        if isinstance(given, nn.Identity):
            assert isinstance(made, PlaceholderObserver)
            continue
        assert type(made).__module__.startswith("fxquant.")
        assert type(made).__name__ == type(given).__name__
        assert str(made.dtype).removeprefix("torch.") in str(given.dtype) or given.dtype is torch.quint4x2
        assert made.is_dynamic == given.is_dynamic
        _same(made, given, "qscheme", lambda value: getattr(value, "value", str(value).removeprefix("torch.")))
        _same(made, given, "ch_axis", int)


def _same(made: Any, given: Any, name: str, read: Any) -> None:
    if getattr(given, name, None) is not None and getattr(made, name, None) is not None and name != "ch_axis":
        assert read(getattr(made, name)) == read(getattr(given, name))
    if name == "ch_axis" and "PerChannel" in type(given).__name__:
        assert made.ch_axis == given.ch_axis


def test_a_range_halved_against_saturation_is_full_again_and_another_one_kept() -> None:
    ours = interop.qconfig(ao.get_default_qconfig("x86"))
    assert ours is not None
    made = ours.activation()
    assert (type(made), made.quant_min, made.quant_max) == (HistogramObserver, 0, 255)
    default = interop.qconfig(ao.default_qconfig)
    assert default is not None
    made = default.activation()
    assert (type(made), made.quant_min, made.quant_max) == (MinMaxObserver, 0, 255)
    made = interop.observer_factory(ao.MinMaxObserver.with_args(quant_min=0, quant_max=63))()
    assert (type(made), made.quant_min, made.quant_max) == (MinMaxObserver, 0, 63)
    signed = interop.observer_factory(ao.MinMaxObserver.with_args(dtype=torch.qint8, reduce_range=True))()
    assert (signed.quant_min, signed.quant_max) == (-128, 127)


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_static_observer_finds_the_same_qparams(name: str) -> None:
    factory = getattr(ao.observer, name)
    ours, theirs = interop.observer_factory(factory)(), factory()
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    ours(x)
    theirs(x)
    passive = ("Placeholder", "Recording", "Noop", "ReuseInput")
    if type(theirs).__name__.startswith(passive):
        with pytest.raises(ValueError, match="no qparams"):
            ours.qparams()
        return
    if theirs.quant_max == 127 and ours.quant_max == 255:  # as a kernel that saturates wants it
        assert ours.headroom
        theirs.quant_max, ours.headroom = 255, False
    scale, zero_point = theirs.calculate_qparams()
    found, point = ours.calculate_qparams()
    tolerance = 0.5 if "Histogram" in type(theirs).__name__ else 1e-5  # where to clip is each one's own search
    torch.testing.assert_close(found, scale.float(), rtol=tolerance, atol=0)
    if tolerance < 0.1:
        torch.testing.assert_close(point.float(), zero_point.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", FAKE_QUANTIZES)
def test_a_fake_quantize_gives_the_same_values(name: str) -> None:
    factory = getattr(ao.fake_quantize, name)
    ours, theirs = interop.observer_factory(factory)(), factory()
    x = torch.rand(8, 16, generator=torch.Generator().manual_seed(3))
    made = theirs(x)
    full_range = not getattr(theirs.activation_post_process, "reduce_range", False)
    y = ours(x)
    step = max(float(theirs.scale.max()), float(ours.scale.max()))
    assert (y - x).abs().max() <= 0.51 * step
    if full_range and "histogram" not in name:
        torch.testing.assert_close(y, made, rtol=0, atol=1.01 * step)


class FixedRange(ao.observer.ObserverBase):
    """An observer of a user's own, which nothing here knows."""

    quant_min, quant_max, qscheme = 0, 255, torch.per_tensor_affine

    def __init__(self) -> None:
        super().__init__(dtype=torch.quint8)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([8 / 255]), torch.tensor([128])


def test_an_observer_of_the_users_own() -> None:
    mapping = ao.QConfigMapping().set_global(ao.QConfig(FixedRange, ao.default_per_channel_weight_observer))
    model = net()
    prepared = pickle.loads(pickle.dumps(interop.qconfig_mapping(mapping)))
    assert prepared.global_qconfig.activation().qparams().quant_max == 255
    quantized = convert_fx(calibrate(prepare_fx(model, mapping, (X,)), [X], progress=False))
    assert sqnr_db(model(X), quantized(X)) > 15
    assert explain(quantized).float_rows == ()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["x86", "fbgemm", "qnnpack", "onednn"])
@pytest.mark.parametrize("qat", [False, True])
def test_the_default_mappings_convert_as_well_as_there(backend: str, qat: bool) -> None:
    gain = 0.0
    mapping = (ao.get_default_qat_qconfig_mapping if qat else ao.get_default_qconfig_mapping)(backend)
    for seed in range(4):  # what one small network loses is chance
        torch.manual_seed(seed)
        model = net()
        prepared = (prepare_qat_fx if qat else prepare_fx)(model, mapping, (X,))
        ours = convert_fx(calibrate(prepared, [X], progress=False))
        assert explain(ours).float_rows == ()
        theirs = ao.quantize_fx.prepare_fx(copy.deepcopy(model), ao.get_default_qconfig_mapping(backend), (X,))
        theirs(X)
        gain += sqnr_db(model(X), ours(X)) - sqnr_db(model(X), ao.quantize_fx.convert_fx(theirs)(X))
    assert gain / 4 > -1


def test_settings_of_a_mapping_keep_their_levels() -> None:
    qconfig = ao.default_per_channel_qconfig
    mapping = (
        ao.QConfigMapping()
        .set_global(qconfig)
        .set_object_type(nn.Linear, None)
        .set_module_name_regex("3.*", None)
        .set_module_name("0", None)
        .set_module_name_object_type_order("", nn.Sigmoid, 0, None)
    )
    quantized = convert_fx(calibrate(prepare_fx(net(), mapping, (X,)), [X], progress=False))
    float_ops = [row.place for row in explain(quantized).float_rows]
    assert {"0", "3", "4", "6"} <= set(float_ops)


def test_custom_configs() -> None:
    from torch.ao.quantization.fx import custom_config
    from torch.ao.quantization.quant_type import QuantType as TheirQuantType

    class Observed(nn.ReLU):
        @classmethod
        def from_float(cls, module: nn.ReLU) -> Observed:
            return cls()

    theirs = (
        custom_config.PrepareCustomConfig()
        .set_non_traceable_module_names(["0"])
        .set_float_to_observed_mapping(nn.ReLU, Observed, TheirQuantType.STATIC)
        .set_standalone_module_name("3", None, (torch.randn(1, 8, 8, 8),), None, None)
        .set_preserved_attributes(["training"])
    )
    ours = interop.prepare_custom_config(theirs)
    assert isinstance(ours, PrepareCustomConfig)
    assert ours.non_traceable_module_names == ["0"]
    assert ours.float_to_observed_mapping == {QuantType.STATIC: {nn.ReLU: Observed}}
    prepared = prepare_fx(net(), ao.get_default_qconfig_mapping(), (X,), theirs)
    assert isinstance(prepared.get_submodule("2"), Observed)
    assert isinstance(prepared.get_submodule("3"), ObservedGraphModule)
    theirs_later = custom_config.ConvertCustomConfig().set_observed_to_quantized_mapping(Observed, Quantized)
    quantized = convert_fx(calibrate(prepared, [X], progress=False), theirs_later)
    assert isinstance(quantized.get_submodule("2"), Quantized)


class Quantized(nn.Hardtanh):
    @classmethod
    def from_observed(cls, module: nn.Module) -> Quantized:
        assert hasattr(module, "activation_post_process")
        return cls(0.0, 1e9)


def test_backend_configs() -> None:
    from torch.ao.quantization.backend_config import get_executorch_backend_config, get_native_backend_config

    native = interop.backend_config(get_native_backend_config())
    assert native is not None
    assert native.ignored == []
    mapping = ao.get_default_qconfig_mapping("x86")
    prepared = prepare_fx(net(), mapping, (X,), backend_config=get_native_backend_config())
    assert explain(convert_fx(calibrate(prepared, [X], progress=False))).float_rows == ()
    signed = ao.QConfigMapping().set_global(ao.qconfig.default_symmetric_qnnpack_qconfig)
    prepared = prepare_fx(net(), signed, (X,), backend_config=get_native_backend_config())
    reasons = [row.reason for row in explain(convert_fx(calibrate(prepared, [X], progress=False))).float_rows]
    assert any("takes torch.uint8, not torch.int8" in reason for reason in reasons)
    assert interop.backend_config(get_executorch_backend_config()) is not None


WITHOUT = """
import torch
for name in ("quint8", "qint8", "qint32", "quint4x2", "quint2x4", "qscheme", "quantize_per_tensor",
             "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
             "per_channel_affine_float_qparams"):
    delattr(torch, name)
import fxquant
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
x = torch.randn(2, 3, 8, 8)
for mapping, prepare in ((fxquant.get_default_qconfig_mapping(), fxquant.prepare_fx),
                         (fxquant.get_default_qat_qconfig_mapping(), fxquant.prepare_qat_fx)):
    prepared = prepare(model, mapping, (x,), backend_config=fxquant.get_native_backend_config())
    prepared(x)
    assert (fxquant.convert_fx(prepared)(x) - model(x)).abs().max() < 0.1
"""


@pytest.mark.slow
def test_a_torch_without_quantized_dtypes_will_do() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)


def test_names_of_plain_dtypes() -> None:
    made = [
        MinMaxObserver(dtype=torch.quint8),
        PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric),
        PlaceholderObserver(dtype=torch.quint8, is_dynamic=True),
    ]
    assert [each.dtype for each in made] == [torch.uint8, torch.int8, torch.uint8]


# Custom modules


class Doubled(nn.Module):
    """A float module that its own classes quantize."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.linear(x)


class ObservedDoubled(Doubled):
    @classmethod
    def from_float(cls, module: Any) -> ObservedDoubled:
        made = cls()
        made.linear = module.linear
        return made


class QuantizedDoubled(Doubled):
    @classmethod
    def from_observed(cls, module: Any) -> QuantizedDoubled:
        module.linear.activation_post_process = module.activation_post_process
        made = cls()
        made.linear = ao_nn().quantized.Linear.from_float(module.linear)
        return made


class DynamicDoubled(Doubled):
    @classmethod
    def from_observed(cls, module: Any) -> DynamicDoubled:
        made = cls()
        made.linear = ao_nn().quantized.dynamic.Linear.from_float(module.linear)
        return made


def ao_nn() -> Any:
    return torch.ao.nn


def doubled() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), Doubled(), nn.Linear(6, 6)).eval()


ROWS = torch.randn(64, 6, generator=torch.Generator().manual_seed(2))


def test_a_custom_module_may_be_made_of_quantized_layers() -> None:
    model = doubled()
    mapping = ao.QConfigMapping().set_global(ao.qconfig.default_qconfig)
    custom = PrepareCustomConfig().set_float_to_observed_mapping(Doubled, ObservedDoubled)
    convert = ConvertCustomConfig().set_observed_to_quantized_mapping(ObservedDoubled, QuantizedDoubled)
    prepared = calibrate(prepare_fx(model, mapping, (ROWS,), custom), [ROWS], progress=False)
    quantized = convert_fx(prepared, convert)
    assert sqnr_db(model(ROWS), quantized(ROWS)) > 30
    assert not hasattr(model[1], "qconfig")


def test_a_custom_module_may_be_made_of_dynamic_layers() -> None:
    model = doubled()
    mapping = ao.QConfigMapping().set_global(ao.qconfig.default_dynamic_qconfig)
    custom = PrepareCustomConfig().set_non_traceable_module_classes([Doubled])
    convert = ConvertCustomConfig().set_observed_to_quantized_mapping(Doubled, DynamicDoubled, QuantType.DYNAMIC)
    quantized: Any = convert_fx(prepare_fx(model, mapping, (ROWS,), custom), convert)
    assert type(quantized.get_submodule("1").linear).__module__.startswith("torch.ao.nn.quantized.dynamic")
    assert sqnr_db(model(ROWS), quantized(ROWS)) > 30


def test_custom_modules_are_told_the_qconfig_as_it_was_given() -> None:
    given = ao.qconfig.default_qconfig
    for qconfig in (given, interop.qconfig(given)):
        mapping = QConfigMapping().set_global(qconfig)
        custom = PrepareCustomConfig().set_float_to_observed_mapping(Doubled, ObservedDoubled)
        observed = prepare_fx(doubled(), mapping, (ROWS,), custom).get_submodule("1")
        assert observed.qconfig is given
        assert observed.linear.qconfig is given


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_quantizable_lstm_of_torch_ao_is_an_lstm_here(bidirectional: bool) -> None:
    model = Recurrent(nn.LSTM(6, 8, bidirectional=bidirectional)).eval()
    x = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(3))
    custom = PrepareCustomConfig().set_float_to_observed_mapping(nn.LSTM, ao_nn().quantizable.LSTM)
    convert = ConvertCustomConfig().set_observed_to_quantized_mapping(ao_nn().quantizable.LSTM, ao_nn().quantized.LSTM)
    mapping = ao.get_default_qconfig_mapping("x86")
    with pytest.warns(ConfigWarning, match="LSTM of torch.ao is not needed"):
        prepared = prepare_fx(model, mapping, (x,), custom)
    quantized = convert_fx(calibrate(prepared, [x], progress=False), convert)
    assert "int8" in [row.precision for row in explain(quantized).rows if row.place == "lstm"]
    assert sqnr_db(model(x)[0], quantized(x)[0]) > 25


class Recurrent(nn.Module):
    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> Any:
        return self.lstm(x)


class ObservedLSTM(Recurrent):
    @classmethod
    def from_float(cls, module: Any) -> ObservedLSTM:
        return cls(module)


def test_a_custom_module_may_give_several_tensors() -> None:
    model, x = Recurrent(nn.LSTM(6, 8)).eval(), torch.randn(5, 4, 6)
    custom = PrepareCustomConfig().set_float_to_observed_mapping(nn.LSTM, ObservedLSTM)
    mapping = ao.get_default_qconfig_mapping("x86")
    prepared = calibrate(prepare_fx(model, mapping, (x,), custom), [x], progress=False)
    assert isinstance(prepared.lstm, ObservedLSTM)
    torch.testing.assert_close(convert_fx(prepared)(x), model(x))


def quantized_layer(name: str, *sizes: int) -> Any:
    home = ao_nn().intrinsic.quantized if "ReLU" in name else ao_nn().quantized
    layer = getattr(home, name)(*sizes)
    shape = layer.weight().shape
    scales, zero_points = torch.rand(shape[0]).double() * 0.01 + 0.001, torch.zeros(shape[0], dtype=torch.int64)
    weight = torch.quantize_per_channel(torch.randn(shape), scales, zero_points, 0, torch.qint8)
    layer.set_weight_bias(weight, torch.randn(shape[0]))
    layer.scale, layer.zero_point = 0.03, 90
    return layer


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("Linear", (6, 4), (5, 6)),
        ("LinearReLU", (6, 4), (5, 6)),
        ("Conv1d", (4, 6, 3), (2, 4, 9)),
        ("Conv2d", (4, 6, 3, 2, 1), (2, 4, 9, 8)),
        ("ConvReLU2d", (4, 6, 3, 2, 1), (2, 4, 9, 8)),
        ("Conv3d", (4, 6, 2), (2, 4, 5, 5, 5)),
    ],
)
def test_quantized_layers_compute_the_same_of_floats(name: str, sizes: Any, shape: Any) -> None:
    torch.manual_seed(4)
    layer = quantized_layer(name, *sizes)
    x = torch.quantize_per_tensor(torch.randn(shape), 0.05, 30, torch.quint8)
    ours = nn.Sequential(interop_layers.in_floats(nn.Sequential(layer)))
    difference = (ours(x.dequantize()) - layer(x).dequantize()).abs()
    assert difference.max() < 1.01 * layer.scale
    assert difference.mean() < 0.02 * layer.scale
