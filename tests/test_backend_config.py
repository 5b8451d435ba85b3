"""A BackendConfig narrows down what runs in int8, and says why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxquant import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    DTypeWithConstraints,
    ObservationType,
    QConfig,
    QConfigMapping,
    backend_config,
    calibrate,
    convert_fx,
    default_per_channel_weight_observer,
    explain,
    get_default_qconfig_mapping,
    get_native_backend_config,
    prepare_fx,
)
from fxquant.errors import ConfigError, ConfigWarning
from fxquant.observer import HistogramObserver

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))
INT8 = DTypeConfig(torch.uint8, torch.uint8, torch.int8, torch.float32)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.conv(x)).flatten(2).transpose(1, 2))
        return y


def reasons(backend: Any, mapping: QConfigMapping | None = None) -> dict[str, str]:
    prepared = prepare_fx(Net().eval(), mapping or get_default_qconfig_mapping(), (X,), backend_config=backend)
    return {row.op: row.reason for row in explain(convert_fx(calibrate(prepared, [X], progress=False))).float_rows}


def of(*patterns: BackendPatternConfig) -> BackendConfig:
    return BackendConfig("npu").set_backend_pattern_configs(list(patterns))


def conv(*dtypes: DTypeConfig) -> BackendPatternConfig:
    return BackendPatternConfig((nn.Conv2d, torch.relu)).set_dtype_configs(list(dtypes or [INT8]))


LINEAR = BackendPatternConfig(nn.Linear).add_dtype_config(INT8)


@pytest.mark.parametrize("name", [n for n in backend_config.__all__ if n.endswith("_backend_config") and "get" in n])
def test_what_the_kernels_do_is_no_restriction(name: str) -> None:
    made = getattr(backend_config, name)()
    assert made.name == name.removeprefix("get_").removesuffix("_backend_config")
    assert reasons(made) == {}


def test_what_no_pattern_holds_stays_float() -> None:
    assert reasons(of(conv())) == {"linear": "the backend 'npu' has no pattern with it"}
    assert reasons(of(conv(), LINEAR)) == {}


def test_what_is_not_observed_stays_float() -> None:
    silent = BackendPatternConfig(nn.Linear).add_dtype_config(INT8)
    silent.set_observation_type(ObservationType.INPUT_OUTPUT_NOT_OBSERVED)
    assert reasons(of(conv(), silent))["linear"] == "the backend 'npu' does not observe it"


@pytest.mark.parametrize(
    ("dtypes", "reason"),
    [
        (DTypeConfig(torch.int8, torch.int8, torch.int8), "its input takes torch.int8, not torch.uint8"),
        (DTypeConfig(torch.uint8, torch.uint8, torch.uint8), "its weight takes torch.uint8, not torch.int8"),
        (DTypeConfig(torch.uint8, torch.uint8, torch.int8, is_dynamic=True), "is for dynamic quantization"),
        (DTypeConfig(torch.float32, torch.float32, torch.int8), "takes float32"),
        (
            DTypeConfig(DTypeWithConstraints(torch.uint8, quant_max_upper_bound=127), torch.uint8, torch.int8),
            "its input takes integers up to 127, not to 255",
        ),
        (
            DTypeConfig(torch.uint8, torch.uint8, DTypeWithConstraints(torch.int8, quant_min_lower_bound=-64)),
            "its weight takes integers from -64 on, not from -127",
        ),
        (
            DTypeConfig(torch.uint8, DTypeWithConstraints(torch.uint8, scale_min_lower_bound=2**-12), torch.int8),
            "its output takes scales from 0.000244140625 on; the observer has eps",
        ),
        (
            DTypeConfig(torch.uint8, DTypeWithConstraints(torch.uint8, scale_exact_match=1 / 256), torch.int8),
            "its output takes the scale 0.00390625 only",
        ),
    ],
)
def test_constraints_are_kept(dtypes: DTypeConfig, reason: str) -> None:
    linear = BackendPatternConfig(nn.Linear).add_dtype_config(dtypes)
    found = reasons(of(conv(), linear))["linear"]
    assert found.startswith("the backend 'npu' refuses it: ")
    assert reason in found
    assert reasons(of(conv(), linear.add_dtype_config(INT8))) == {}


class Fused(nn.Module):
    """What a backend's own fuser makes of a convolution and a relu."""


def test_what_is_fused_has_the_dtypes_of_the_fused_module() -> None:
    fused = BackendPatternConfig((nn.Conv2d, torch.relu)).set_fused_module(Fused)
    assert reasons(of(fused, LINEAR)) == dict.fromkeys(("conv2d", "relu"), "the backend 'npu' has no dtypes for it")
    assert reasons(of(fused, LINEAR, BackendPatternConfig(Fused).add_dtype_config(INT8))) == {}


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second, self.third = (
            *(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
            *(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.tanh(self.second(x))
        x = self.third(x)
        return torch.relu(x) + x


def test_a_sequence_is_one() -> None:
    """Only the first convolution has a relu behind it that alone reads it; its batch norm is a part of it."""
    prepared = prepare_fx(Sequences().eval(), get_default_qconfig_mapping(), (X,), backend_config=of(conv()))
    rows = explain(convert_fx(calibrate(prepared, [X], progress=False))).rows
    found = {row.place: row.precision for row in rows if row.place in ("first", "second", "third")}
    assert found == {"first": "int8", "second": "float", "third": "float"}


def test_constraints_that_the_qconfig_meets() -> None:
    narrow = DTypeWithConstraints(torch.uint8, 0, 127, scale_min_lower_bound=2**-12)
    backend = of(conv(), BackendPatternConfig(nn.Linear).add_dtype_config(DTypeConfig(narrow, narrow, torch.int8)))
    activation = HistogramObserver.with_args(quant_min=0, quant_max=127, eps=2**-12)
    assert reasons(backend, QConfigMapping().set_global(QConfig(activation, default_per_channel_weight_observer))) == {}


def test_fusers_of_the_users_own_are_named() -> None:
    def fuse(is_qat: bool, conv: nn.Module, relu: nn.Module) -> nn.Module:
        return nn.Sequential(conv, relu)

    backend = of(conv().set_fuser_method(fuse).set_fused_module(nn.Sequential), LINEAR)
    with pytest.warns(ConfigWarning, match=r"'npu' these have no effect.*fuser_method of Conv2d \+ relu: fuse$"):
        prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,), backend_config=backend)


def test_dicts_say_the_same() -> None:
    backend = of(conv(), LINEAR.set_root_module(nn.Linear))
    assert BackendConfig.from_dict(backend.to_dict()).to_dict() == backend.to_dict()
    constrained = DTypeConfig(DTypeWithConstraints(torch.uint8, 0, 127), torch.uint8, is_dynamic=False)
    assert DTypeConfig.from_dict(constrained.to_dict()) == constrained
    with pytest.warns(FutureWarning, match="a dict as backend_config is deprecated"):
        found = reasons(of(conv()).to_dict())
    assert list(found) == ["linear"]
    with pytest.raises(ConfigError, match=r"unknown keys \['nme'\]"):
        BackendConfig.from_dict({"nme": 1})


def test_a_later_pattern_takes_the_place_of_an_equal_one() -> None:
    backend = get_native_backend_config()
    count = len(backend.configs)
    backend.set_backend_pattern_config(BackendPatternConfig(nn.Linear))
    assert len(backend.configs) == count
    assert reasons(backend)["linear"] == "the backend 'native' has no dtypes for it"
