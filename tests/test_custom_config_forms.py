"""Settings of custom configs that make no sense, however they were written, end in an error that names the setting."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fxquant import ConvertCustomConfig, PrepareCustomConfig, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import ConfigError
from fxquant.quant_type import QuantType

X = torch.randn(2, 4)
STATIC = QuantType.STATIC
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Observed(nn.Linear):
    @classmethod
    def from_float(cls, module: nn.Module) -> nn.Module:
        return cls(4, 4)


class Nothing(nn.Module):
    @classmethod
    def from_float(cls, module: nn.Module) -> None:
        return None

    from_observed = from_float


class Failing(nn.Module):
    @classmethod
    def from_float(cls, module: nn.Module) -> nn.Module:
        raise KeyError("scale")


def prepared(custom: Any) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    made = prepare_fx(model, get_default_qconfig_mapping(), (X,), custom)
    made(X)
    return made


SETTINGS: list[tuple[str, Any]] = [
    *[("float_to_observed_mapping", value) for value in ({int: 3}, {STATIC: 3}, [1], 3)],
    ("float_to_observed_mapping", {STATIC: {int: Observed}}),
    ("float_to_observed_mapping", {STATIC: {3: Observed}}),
    ("float_to_observed_mapping", {STATIC: {nn.Linear: 3}}),
    ("float_to_observed_mapping", {STATIC: {nn.Linear: nn.ReLU}}),
    *[("non_traceable_module_names", value) for value in ([3], 3, {0})],
    *[("non_traceable_module_classes", value) for value in ([3], [int], ["Linear"], nn.Linear)],
    *[("standalone_module_names", value) for value in ({"0": 3}, {3: 3}, 3)],
    *[("standalone_module_classes", value) for value in ({nn.Linear: 3}, {"0": 3})],
    *[("input_quantized_indexes", value) for value in ([0.0], [True], [0, 0], 0, "0")],
    *[("output_quantized_indexes", value) for value in ([None], [0, 0])],
    *[("preserved_attributes", value) for value in ([3], 3)],
]


@pytest.mark.parametrize(("setting", "value"), SETTINGS, ids=lambda value: repr(value)[:40])
def test_an_attribute(setting: str, value: Any) -> None:
    custom = PrepareCustomConfig()
    setattr(custom, setting, value)
    with pytest.raises(ConfigError, match=rf"prepare_custom_config\.{setting} is .*; it must be a "):
        prepared(custom)


def test_a_setter() -> None:
    with pytest.raises(ConfigError, match="3 has no from_float, by which it is made of a int"):
        PrepareCustomConfig().set_float_to_observed_mapping(int, 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="7 is no QuantType; there are DYNAMIC, STATIC"):
        PrepareCustomConfig().set_float_to_observed_mapping(nn.Linear, Observed, 7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"float_to_observed_mapping is .*module class"):
        prepared(PrepareCustomConfig().set_float_to_observed_mapping(3, Observed))  # type: ignore[arg-type]


def test_a_dict() -> None:
    with pytest.raises(ConfigError, match=r"float_to_observed_mapping is .*module class"):
        prepared({"float_to_observed_custom_module_class": {"static": {int: 3}}})
    custom = {"observed_to_quantized_custom_module_class": {"static": {int: 3}}}
    with pytest.raises(ConfigError, match=r"convert_custom_config\.observed_to_quantized_mapping is .*from_observed"):
        convert_fx(prepared(None), custom)


def test_a_class_whose_maker_fails() -> None:
    for observed, words in ((Nothing, "gives a NoneType, not a module"), (Failing, "raises KeyError: 'scale'")):
        custom = PrepareCustomConfig().set_float_to_observed_mapping(nn.Linear, observed)
        with pytest.raises(ConfigError, match=rf"{observed.__name__}\.from_float, given the Linear 0 .*{words}"):
            prepared(custom)
    made = prepared(PrepareCustomConfig().set_float_to_observed_mapping(nn.Linear, Observed))
    with pytest.raises(ConfigError, match=r"Nothing\.from_observed, given the Observed 0 .*gives a NoneType"):
        convert_fx(made, ConvertCustomConfig().set_observed_to_quantized_mapping(Observed, Nothing))
