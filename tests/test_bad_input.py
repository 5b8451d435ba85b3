"""What goes wrong in users' hands ends in an error of ours that names the place, and leaves their model as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant import (
    FixedQParamsObserver,
    PrepareCustomConfig,
    QConfig,
    QConfigMapping,
    calibrate,
    convert_fx,
    default_weight_observer,
    explain,
    get_default_qconfig_mapping,
    prepare_fx,
)
from fxquant.errors import CalibrationError, CalibrationWarning, ConfigError, ConfigWarning, InputError


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        return y


X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def small() -> Small:
    return Small().eval()


def prepared(model: nn.Module | None = None) -> GraphModule:
    return prepare_fx(model or small(), get_default_qconfig_mapping(), (X,))


def quantized() -> GraphModule:
    return convert_fx(calibrate(prepared(), [X], progress=False))


def test_a_model_in_training_mode() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.warns(
        ConfigWarning, match="^1 is in training mode; the model is quantized as it computes in eval mode"
    ):
        in_eval_mode = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    assert model.training
    torch.testing.assert_close(in_eval_mode(X), copy.deepcopy(model).eval()(X))


def test_a_model_that_computes_the_same_in_either_mode() -> None:
    model = small().train()
    in_eval_mode = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    assert model.training
    assert not in_eval_mode.training


@pytest.mark.parametrize("inputs", [(), (X, X), ("image",), 3, {"y": X}, None])
def test_example_inputs_that_the_model_does_not_take(inputs: Any) -> None:
    with pytest.raises(InputError, match=r"forward|x"):
        prepare_fx(small(), get_default_qconfig_mapping(), inputs)


def test_example_inputs_that_fail_inside_the_model_name_the_line() -> None:
    with pytest.raises(InputError, match=r"conv"):
        prepare_fx(small(), get_default_qconfig_mapping(), (torch.randn(2, 5, 8, 8),))


@pytest.mark.parametrize(
    ("mapping", "wrong", "right"),
    [
        (QConfigMapping().set_module_name("cnv", None), "cnv", "conv"),
        (QConfigMapping().set_module_name_regex("head[0-9]", None), "head", "conv"),
        (QConfigMapping().set_module_name_object_type_order("body", torch.relu, 0, None), "body", "conv"),
    ],
)
def test_a_key_that_matches_nothing(mapping: QConfigMapping, wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){wrong}.*{right}"):
        prepare_fx(small(), mapping, (X,))


def test_a_type_that_is_not_in_the_model() -> None:
    with pytest.warns(ConfigWarning, match="Conv1d.*Conv2d"):
        prepare_fx(small(), get_default_qconfig_mapping().set_object_type(nn.Conv1d, None), (X,))


def test_a_mapping_of_the_wrong_type() -> None:
    with pytest.raises(ConfigError, match="get_default_qconfig_mapping"):
        prepare_fx(small(), "x86", (X,))  # type: ignore[arg-type]


def test_convert_of_a_model_that_was_not_prepared() -> None:
    with pytest.raises(ConfigError, match="prepare_fx"):
        convert_fx(small())  # type: ignore[arg-type]


def test_convert_before_calibration_warns_and_names_the_observers() -> None:
    with pytest.warns(CalibrationWarning, match=r"(?s)calibrate\(prepared.*conv") as caught:
        convert_fx(prepared())
    assert "head" in str(caught[0].message)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_during_calibration(bad: float) -> None:
    broken = X.clone()
    broken[1, 2, 3, 4] = bad
    with pytest.raises(CalibrationError, match="x"):
        calibrate(prepared(), [X, broken], progress=False)


def test_infinity_inside_the_model_names_the_layer() -> None:
    model = small()
    with torch.no_grad():
        model.head.bias.fill_(float("inf"))
    with pytest.raises(CalibrationError, match="head"):
        calibrate(prepared(model), [X], progress=False)


@pytest.mark.parametrize("loader", [[], iter(()), [X[:0]]])
def test_calibration_without_data(loader: Any) -> None:
    with pytest.raises(CalibrationError):
        calibrate(prepared(), loader, progress=False)


def test_an_empty_batch_gives_an_empty_result() -> None:
    assert quantized()(X[:0]).shape == (0, 4)


@pytest.mark.parametrize("wrong", [X.double(), X.long(), X.half(), X.to("meta"), X[:, :2], torch.randn(2, 4, 8, 8)])
def test_an_input_unlike_the_example(wrong: Tensor) -> None:
    with pytest.raises(InputError):
        quantized()(wrong)


def test_a_reduction_too_long_for_int32_stays_float() -> None:
    model = nn.Sequential(nn.Linear(70_000, 2)).eval()
    x = torch.randn(1, 70_000)
    converted = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    (row,) = explain(converted).float_rows
    assert "int32" in row.reason
    assert "70000" in row.reason
    torch.testing.assert_close(converted(x), model(x))


def test_weights_that_are_all_zero_leave_the_bias() -> None:
    model = small()
    with torch.no_grad():
        model.conv.weight.zero_()
        model.conv.bias.copy_(torch.linspace(-1, 2, 8))
    converted = convert_fx(calibrate(prepared(model), [X], progress=False))
    torch.testing.assert_close(converted(X), model(X), atol=0.02, rtol=0)


def test_a_failed_call_leaves_the_model_alone() -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError):
        prepare_fx(model, get_default_qconfig_mapping(), (torch.randn(1, 1, 8, 8),))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_is_prepared_or_converted_already() -> None:
    mapping = get_default_qconfig_mapping()
    with pytest.raises(ConfigError, match="prepared already; calibrate it"):
        prepare_fx(prepared(), mapping, (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(ConfigError, match="in int8 already; prepare the float model"):
        prepare_fx(quantized(), mapping, (torch.zeros(1, 3, 8, 8),))


@pytest.mark.parametrize("data", [3, None, object()])
def test_calibration_data_that_is_not_iterable(data: Any) -> None:
    with pytest.raises(InputError, match="must be an iterable of batches"):
        calibrate(prepared(), data)


def test_a_qconfig_that_makes_no_observer() -> None:
    mapping = QConfigMapping().set_global(QConfig(nn.ReLU, nn.ReLU))
    with pytest.raises(ConfigError, match=r"set_global\(qconfig\) makes a ReLU, not an observer"):
        prepare_fx(small(), mapping, (torch.zeros(1, 3, 8, 8),))


def test_a_qconfig_whose_factory_fails() -> None:
    for factory in (FixedQParamsObserver, lambda: 1 // 0):
        mapping = QConfigMapping().set_global(QConfig(factory, default_weight_observer))
        with pytest.raises(ConfigError, match=r"set_global\(qconfig\) makes no observer: (Type|ZeroDivision)Error"):
            prepare_fx(small(), mapping, (X,))


@pytest.mark.parametrize(
    ("indexes", "reason"),
    [
        *((indexes, "must be a list of different integers") for indexes in (["x"], [0.5])),
        *((indexes, "the model has 1 of them, from 0") for indexes in ([7], [-1])),
    ],
)
def test_an_index_of_no_input(indexes: Any, reason: str) -> None:
    custom = PrepareCustomConfig().set_input_quantized_indexes(indexes)
    with pytest.raises(ConfigError, match=reason):
        prepare_fx(small(), get_default_qconfig_mapping(), (X,), custom)


@pytest.mark.parametrize("backend", [{"configs": 3}, {"configs": [{"pattern": nn.Conv2d, "dtype_configs": 3}]}])
def test_a_dict_that_has_not_the_form_of_a_config(backend: Any) -> None:
    with (
        pytest.raises(ConfigError, match=r"the dict as backend_config has not the form of BackendConfig\.to_dict\(\)"),
        pytest.warns(FutureWarning),
    ):
        prepare_fx(small(), get_default_qconfig_mapping(), (X,), backend_config=backend)


def test_a_nested_tensor_in_calibration() -> None:
    with pytest.raises(InputError, match="batch 0, nested tensor, does not run through the model"):
        calibrate(prepared(), [torch.nested.nested_tensor([X[0], X[1, :2]])], progress=False)


@pytest.mark.parametrize(
    "set_up",
    [
        lambda: QConfigMapping().set_module_name(nn.Conv2d, None),  # type: ignore[arg-type]
        lambda: QConfigMapping().set_module_name_regex(3, None),  # type: ignore[arg-type]
        lambda: QConfigMapping.from_dict({"object_type": [(nn.Conv2d,)]}),
        lambda: QConfigMapping.from_dict({"object_type": nn.Conv2d}),
    ],
)
def test_a_setting_of_the_wrong_form(set_up: Any) -> None:
    with pytest.raises(ConfigError):
        set_up()


def test_what_is_no_tensor_at_run_time() -> None:
    with pytest.raises(InputError, match="a NoneType; pass a float32 tensor"):
        quantized()(None)
