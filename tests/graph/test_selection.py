"""passes=[...]: what one call runs, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fxquant.passes import PIPELINE
from torch import nn
from torch.fx import GraphModule

from fxquant import (
    convert_fx,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
    prepare_fx,
    prepare_qat_fx,
    register_pass,
    without,
)
from fxquant.custom_config import PrepareCustomConfig
from fxquant.errors import ConfigError
from fxquant.graph.registry import STAGES
from fxquant.graph.selection import CONVERT, PREPARE, select

pytestmark = pytest.mark.usefixtures("own_passes")

RAN: list[Any] = []


@pytest.fixture(autouse=True)
def _none_ran() -> None:
    RAN.clear()


def spy(gm: GraphModule) -> GraphModule:
    RAN.append("spy")
    return gm


@dataclass(frozen=True)
class Counted:
    """A pass with an option."""

    times: int = 20

    def __call__(self, gm: GraphModule) -> GraphModule:
        RAN.append(self.times)
        return gm


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()


X = torch.randn(2, 3, 6, 6)


def prepare(*passes: Any) -> nn.Module:
    return prepare_fx(model(), get_default_qconfig_mapping(), (X,), passes=passes)


REST = PIPELINE["fuse"][1:]  # behind fuse_batch_norm


def names(*passes: Any, stage: str = "fuse") -> list[str]:
    return [each.name for each in select(passes, (stage,), "prepare_fx")[stage]]


def test_a_registered_pass_runs_always_with_its_default_options() -> None:
    register_pass("fuse")(Counted)
    prepare()
    assert RAN == [20]


@pytest.mark.parametrize(
    ("item", "ran"), [("Counted", 20), (Counted, 20), (Counted(3), 3)], ids=["name", "class", "instance"]
)
def test_an_optional_one_runs_where_it_is_given(item: Any, ran: int) -> None:
    register_pass("fuse", optional=True)(Counted)
    prepare()
    assert RAN == []
    prepare(item)
    assert [ran] == RAN
    prepare()
    assert [ran] == RAN


def test_a_function_runs_where_it_is_given() -> None:
    register_pass("observe", optional=True)(spy)
    prepare(spy)
    assert RAN == ["spy"]


def test_an_instance_takes_the_place_of_the_default() -> None:
    register_pass("fuse")(Counted)
    prepare(Counted(times=5))
    assert RAN == [5]


def test_quantized_training_takes_passes_too() -> None:
    register_pass("fuse", optional=True)(spy)
    prepare_qat_fx(model().train(), get_default_qat_qconfig_mapping(), (X,), passes=[spy])
    assert RAN == ["spy"]


def test_so_do_standalone_modules() -> None:
    register_pass("fuse", optional=True)(spy)
    register_pass("fold", optional=True)(Counted)
    custom = PrepareCustomConfig().set_standalone_module_name("0", None, (X,), None, None)
    prepared = prepare_fx(nn.Sequential(model()).eval(), get_default_qconfig_mapping(), (X,), custom, passes=[spy])
    prepared(X)
    convert_fx(prepared, passes=[Counted(2)])
    assert RAN == ["spy", "spy", 2, 2]


def test_a_built_in_pass_may_be_left_out_of_a_call() -> None:
    def batch_norms(prepared: nn.Module) -> int:
        return sum(isinstance(each, nn.BatchNorm2d) for each in prepared.modules())

    assert batch_norms(prepare()) == 0
    assert batch_norms(prepare(without("fuse_batch_norm", "fuse_lone_batch_norm"))) == 1


def test_a_pass_may_take_the_place_of_another_for_one_call() -> None:
    register_pass("fuse", replaces="fuse_batch_norm", optional=True)(spy)
    assert names() == ["fuse_batch_norm", *REST]
    assert names(spy) == ["spy", *REST]
    assert names(spy, without("fuse_batch_norm")) == ["spy", *REST]


def test_two_may_not() -> None:
    register_pass("fuse", replaces="fuse_batch_norm")(spy)
    register_pass("fuse", replaces="fuse_batch_norm")(Counted)
    with pytest.raises(ConfigError, match=r"spy \(.*Counted \(.*both replace fuse_batch_norm"):
        names()
    assert names(without("spy")) == ["Counted", *REST]


def test_outputs_are_rounded_on_request() -> None:
    prepared = prepare()
    x = torch.randn(100, 3, 6, 6)
    prepared(x)
    rounded, real = convert_fx(prepared, passes=[without("convert_float_reads")])(x), convert_fx(prepared)(x)
    step = torch.diff(rounded.unique()).min()
    assert ((rounded / step) - (rounded / step).round()).abs().max() < 1e-3
    assert ((real / step) - (real / step).round()).abs().max() > 0.1
    assert (real - rounded).abs().max() <= 0.51 * step


WRONG: dict[str, tuple[Any, str]] = {
    "unknown": (["fuse_batch_nrom"], "no pass 'fuse_batch_nrom'; did you mean fuse_batch_norm"),
    "unknown, left out": ([without("fuse")], "no pass 'fuse'"),
    "another call's": (
        ["convert_float_reads"],
        "convert_float_reads belongs to the stage convert, but prepare_fx runs normalize.*give it to convert_fx",
    ),
    "another call's, left out": ([without("fold_pad")], "fold_pad belongs to the stage fold.*give it to convert_fx"),
    "undecorated": ([spy], r"spy.* is not a pass: .*put @register_pass\(stage=..., optional=True\)"),
    "a number": ([3], "3 is not a pass"),
    "an instance of no pass": ([Counted(2)], r"Counted\(times=2\) is not a pass"),
    "no list": ("fuse_batch_norm", "passes='fuse_batch_norm' is no list; passes takes names"),
    "one alone": (without("fuse_batch_norm"), "is no list"),
    "none": (None, "passes=None is no list"),
    "in and out": (["fuse_batch_norm", without("fuse_batch_norm")], "asks for fuse_batch_norm, and to run without"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused(case: str) -> None:
    passes, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        prepare_fx(model(), get_default_qconfig_mapping(), (X,), passes=passes)


def test_options_may_not_contradict() -> None:
    register_pass("fuse")(Counted)
    with pytest.raises(ConfigError, match="Counted twice"):
        names(Counted(2), Counted(3))
    assert names(Counted(2), Counted(2)) == [*names(without("Counted")), "Counted"]


def test_convert_refuses_what_belongs_to_prepare() -> None:
    prepared = prepare()
    with pytest.raises(ConfigError, match=r"fuse_batch_norm belongs to the stage fuse.*give it to prepare_fx"):
        convert_fx(prepared, passes=["fuse_batch_norm"])


def test_the_stages_of_the_calls_are_all_stages() -> None:
    assert (*PREPARE, *CONVERT) == STAGES
