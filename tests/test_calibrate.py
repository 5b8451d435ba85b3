"""Calibration: how batches reach the model, what is refused, and what is left behind."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace
from torch.utils.data import DataLoader, TensorDataset

from fxquant.calibrate import calibrate
from fxquant.errors import CalibrationError, CalibrationWarning, ConfigError, InputError
from fxquant.observer import HistogramObserver, MinMaxObserver


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.observer = MinMaxObserver()
        self.observer.where = "fc (Linear)"

    def forward(self, x: Tensor) -> Tensor:
        return self.observer(self.dropout(x))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.observer = HistogramObserver()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.observer(x - y)


def seen(model: nn.Module) -> tuple[float, float]:
    return float(model.observer.min_val), float(model.observer.max_val)


ONE = torch.tensor([[-1.0, 2.0]])
TWO = torch.tensor([[0.0, 5.0]])


@pytest.mark.parametrize(
    "batches",
    [
        [ONE, TWO],
        [(ONE,), [TWO]],
        [(ONE, torch.tensor([3])), (TWO, torch.tensor([4]))],
        [{"x": ONE}, {"x": TWO}],
        iter([ONE, TWO]),
        DataLoader(TensorDataset(torch.cat([ONE, TWO]), torch.tensor([8, 9])), batch_size=1),
    ],
    ids=["tensors", "tuples", "labelled", "keywords", "iterator", "loader"],
)
def test_every_form_of_batches(batches):
    model = One()
    assert calibrate(model, batches) is model
    assert seen(model) == (-1.0, 5.0)


@pytest.mark.parametrize("batch", [(ONE, TWO), [ONE, TWO, torch.tensor([1])], {"x": ONE, "y": TWO}])
def test_as_many_arguments_as_the_model_has(batch):
    model = calibrate(Two(), [batch])
    assert seen(model) == (-3.0, -1.0)


def test_graph_modules_and_variadic_models():
    traced: GraphModule = symbolic_trace(nn.Sequential())
    traced.add_module("observer", MinMaxObserver())
    with traced.graph.inserting_before(traced.graph.output_node()):
        (placeholder,) = (node for node in traced.graph.nodes if node.op == "placeholder")
        observed = traced.graph.call_module("observer", (placeholder,))
    traced.graph.output_node().args = (observed,)
    traced.recompile()
    assert seen(calibrate(traced, [(ONE, torch.tensor([1]))])) == (-1.0, 2.0)

    class Variadic(Two):
        def forward(self, *xs: Tensor) -> Tensor:
            return self.observer(torch.cat(xs))

    assert seen(calibrate(Variadic(), [(ONE, TWO)])) == (-1.0, 5.0)


def test_max_batches_takes_no_more_from_the_data():
    taken = []

    def endless():
        while True:
            taken.append(ONE)
            yield ONE

    calibrate(One(), endless(), max_batches=3)
    assert len(taken) == 3
    with pytest.raises(ConfigError, match="max_batches must be at least 1, got 0"):
        calibrate(One(), [ONE], max_batches=0)


def test_runs_in_eval_mode_without_gradients_and_restores_every_mode():
    model = One().train()
    model.observer.eval()
    weight = torch.full((1, 1000), 3.0, requires_grad=True)
    modes = []
    model.register_forward_hook(lambda m, *_: modes.append((m.training, m.dropout.training, torch.is_grad_enabled())))
    calibrate(model, [weight * 2])
    assert modes == [(False, False, False)]
    assert seen(model) == (6.0, 6.0)
    assert (model.training, model.dropout.training, model.observer.training) == (True, True, False)


def test_modes_are_restored_after_an_error():
    model = One().train()
    with pytest.raises(CalibrationError):
        calibrate(model, [torch.tensor([float("nan")])])
    assert model.training
    assert model.dropout.training


@pytest.mark.parametrize("data", [[], iter(()), DataLoader(TensorDataset(torch.empty(0, 2)))])
def test_no_batches(data):
    with pytest.raises(CalibrationError, match="data holds no batches"):
        calibrate(One(), data)


def test_batches_without_elements():
    with pytest.raises(CalibrationError, match=r"batch 1 holds a tensor without elements, of shape \[0, 2\]"):
        calibrate(One(), [ONE, (torch.empty(0, 2), torch.tensor([]))])


def test_nan_names_the_batch_and_the_place():
    with pytest.raises(CalibrationError, match=r"batch 2: the observer at fc \(Linear\) got NaN"):
        calibrate(One(), [ONE, TWO, ONE / 0 * 0])


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (One, [ONE, ONE.numpy()], r"batch 1 is a numpy\.ndarray; expected a tensor"),
        (One, [None], "batch 0 is a NoneType; expected"),
        (Two, [(ONE,)], r"batch 0 does not fit the model's forward\(.*x.*y.*\).*missing a required argument: 'y'"),
        (One, [{"image": ONE}], r"batch 0 does not fit .*missing a required argument: 'x'"),
        (One, [{"x": ONE, "label": ONE}], "got an unexpected keyword argument 'label'"),
        (
            Two,
            [(ONE, TWO), (ONE, torch.zeros(3, 7))],
            r"batch 1, float32 tensor of shape \[1, 2\], .*\[3, 7\], does not run",
        ),
        (One, ["image.png"], "batch 0 is a str"),
        (One, ONE, r"not one Tensor; for one batch pass \[batch\]"),
        (One, {"x": ONE}, "not one dict"),
    ],
)
def test_inputs_that_the_model_cannot_take(model, data, message):
    with pytest.raises(InputError, match=message):
        calibrate(model(), data)


def test_input_errors_of_the_model_itself_get_the_batch():
    class Strict(One):
        def forward(self, x: Tensor) -> Tensor:
            raise InputError("the model was traced for 3 channels")

    with pytest.raises(InputError, match="batch 0: the model was traced for 3 channels"):
        calibrate(Strict(), [ONE])


def test_a_model_without_observers_is_warned_about():
    with pytest.warns(CalibrationWarning, match="no observers; calibrate what prepare_fx returns"):
        calibrate(nn.ReLU(), [ONE])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stderr", "progress", "shown"), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_the_bar_is_shown_on_terminals_only(monkeypatch, capsys, stderr: Callable[[], io.StringIO], progress, shown):
    monkeypatch.setattr(sys, "stderr", stderr())
    calibrate(One(), [ONE, TWO], progress=progress)
    assert ("calibrating" in sys.stderr.getvalue()) == shown
    assert capsys.readouterr().out == ""
