"""Whatever a public function is given in place of an argument ends in an error of ours, and leaves the model alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxquant as fq
from fxquant.arguments import typed
from fxquant.errors import ConfigError, FxquantError
from tests.test_malformed_input import same, state_of

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.linspace(-1, 1, 12).reshape(3, 4)
NONSENSE = (None, -3, 2.5, float("nan"), "x", b"x", object(), [], {1: 2}, {3}, nn.Linear, torch.ones(2), 1j, ..., len)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def prepared() -> nn.Module:
    return fq.calibrate(fq.prepare_fx(network(), fq.get_default_qconfig_mapping(), (X,)), [X], progress=False)


def quantized() -> nn.Module:
    return fq.convert_fx(prepared())


# What is called with nonsense, by what it stands for.
PLACES: dict[str, Callable[[Any], Any]] = {
    "a model to prepare": lambda it: fq.prepare_fx(it, fq.get_default_qconfig_mapping(), (X,)),
    "a mapping": lambda it: fq.prepare_fx(network(), it, (X,)),
    "passes": lambda it: fq.prepare_fx(network(), fq.get_default_qconfig_mapping(), (X,), passes=[it]),
    "a model to convert": fq.convert_fx,
    "a model to calibrate": lambda it: fq.calibrate(it, [X]),
    "batches": lambda it: fq.calibrate(prepared(), [it], progress=False),
    "a float model to compare": lambda it: fq.compare(it, quantized(), [X]),
    "a quantized model to compare": lambda it: fq.compare(network(), it, [X]),
    "batches to compare on": lambda it: fq.compare(network(), quantized(), [it]),
    "a model to judge": lambda it: fq.sensitivity(it, [X]),
    "a metric": lambda it: fq.sensitivity(network(), [X], {"metric": it}),
    "a target": lambda it: fq.suggest(network(), [X], target={"dB": it}),
    "a model to report": lambda it: fq.report(it, quantized(), [X], "report.html"),
    "a path of a report": lambda it: fq.report(network(), quantized(), [X], [it]),
    "a model to draw": lambda it: fq.draw(it, "drawing.json"),
    "a model to save": lambda it: fq.save(it, "model"),
    "a model to export": lambda it: fq.export_onnx(it, "model.onnx"),
    "a model to explain": fq.explain,
    "a model of weights": fq.quantize_dynamic,
    "a setting of weights": lambda it: fq.quantize_dynamic(network(), [(it,)]),
    "a model with observers": fq.get_observer_state_dict,
    "a model for a state": lambda it: fq.load_observer_state_dict(it, {}),
    "a stage": lambda it: fq.register_pass(it)(network),
    "a pattern of a backend": lambda it: fq.BackendConfig("b").set_backend_pattern_config(it),
    "the dict of a backend": lambda it: fq.BackendConfig.from_dict([it]),
    "the dict of dtypes": lambda it: fq.DTypeConfig.from_dict([it]),
    "the dict of a custom config": lambda it: fq.PrepareCustomConfig.from_dict([it]),
    "the kind of an observer": fq.FakeQuantize,
    "an input": lambda it: quantized()(it),
}


@pytest.mark.parametrize("place", list(PLACES))
def test_nonsense_in_the_place_of_an_argument(place: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for value in NONSENSE:
        with pytest.raises(FxquantError):
            PLACES[place](value)


def test_a_model_beside_nonsense_is_left_alone() -> None:
    model = network()
    before = state_of(model)
    for value in NONSENSE:
        for call in (fq.prepare_fx, fq.prepare_qat_fx):
            with pytest.raises(FxquantError):
                call(model, fq.get_default_qconfig_mapping(), {"x": value})
    assert same(state_of(model), before)


def test_tensors_that_a_quantized_model_does_not_take() -> None:
    model = quantized()
    for value in (X.double(), X.to_sparse(), X[0, 0], X[:, :3], X.to("meta"), X.cfloat(), [X]):
        with pytest.raises(FxquantError):
            model(value)
    assert model(X).shape == (3, 2)


@pytest.mark.parametrize(
    ("kind", "argument", "right"),
    [
        (fq.MinMaxObserver, "quant_min", {"quant_max": 255}),
        (fq.MinMaxObserver, "eps", {}),
        (fq.MovingAverageMinMaxObserver, "averaging_constant", {}),
        (fq.PerChannelMinMaxObserver, "ch_axis", {}),
        (fq.HistogramObserver, "bins", {}),
        (fq.PercentileObserver, "percentile", {}),
        (fq.PNormObserver, "p", {}),
        (fq.PerGroupMinMaxObserver, "group_size", {}),
        (fq.FixedQParamsObserver, "scale", {"zero_point": 0}),
        (fq.FixedQParamsObserver, "zero_point", {"scale": 0.5}),
        (fq.FakeQuantize, "quant_max", {"observer": fq.MinMaxObserver, "quant_min": 0}),
    ],
)
def test_nonsense_as_an_option_of_an_observer(kind: Any, argument: str, right: dict[str, Any]) -> None:
    for value in ("x", 1j, [], torch.ones(2), nn.Linear, float("nan")):
        with pytest.raises(FxquantError, match=r".+"):
            kind(**right, **{argument: value})


def strange_tensors() -> list[Any]:
    nan, inf = float("nan"), float("inf")
    values = [X.to("meta"), X[:0], X.to_sparse(), torch.full((2, 2), nan), torch.tensor([[inf]])]
    return [*values, torch.tensor([[-3.4e38, 3.4e38]]), None, 3, "x", torch.tensor(1.0)]


@pytest.mark.parametrize(
    "kind", [fq.MinMaxObserver, fq.HistogramObserver, fq.PerChannelMinMaxObserver, fq.PerChannelMSEObserver]
)
def test_what_an_observer_cannot_see(kind: Any) -> None:
    for value in strange_tensors():
        observer = kind()
        try:
            observer(value)
        except FxquantError:
            assert not observer.observed
        else:
            assert observer.ch_axis is None
            assert value.dim() == 0


def test_an_axis_that_a_tensor_has_not() -> None:
    with pytest.raises(FxquantError, match=r"has no axis 4 of channels"):
        fq.PerChannelMinMaxObserver(ch_axis=4)(X)


def test_the_least_values_there_are() -> None:
    for value in (0.0, 1e-45, -1e-45, 1e-38):
        for kind in (fq.MinMaxObserver, fq.HistogramObserver, fq.PercentileObserver, fq.EntropyObserver):
            observer = kind()
            observer(torch.full((2, 2), value))
            assert float(observer.qparams().scale) > 0


def test_what_an_annotation_says() -> None:
    @typed
    def call(a: int, b: float | None = None, *c: str, d: Callable[..., Any] = len, e: Any = 0, **f: int) -> str:
        return "called"

    assert call(1, 2) == call(True, None, 3, d=int, e={}, g="x") == "called"  # type: ignore[arg-type]
    for arguments, named in (
        ({"a": 1.5}, "call: a is 1.5; it must be an int"),
        ({"a": 1, "b": X}, "b is a Tensor; it must be a float or None"),
        ({"a": 1, "d": 3}, "d is 3; it must be callable"),
    ):
        with pytest.raises(ConfigError, match=named):
            call(**arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        call()  # type: ignore[call-arg]
