from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import Written, annotated
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import QConfig, QConfigMapping, get_default_qconfig, get_default_qconfig_mapping, interop
from fxquant.graph.annotation import quant_of
from fxquant.observer import MinMaxObserver, PerChannelMinMaxObserver, PlaceholderObserver
from fxquant.ops.op import op_of

IMAGE = torch.randn(2, 4, 6, 6)
ACTIVATION, WEIGHT = get_default_qconfig()


def decisions(model: nn.Module, x: Tensor = IMAGE, mapping: QConfigMapping | None = None) -> dict[str, str]:
    """Of each op: "" if it runs in int8, else the reason why not."""
    gm = annotated(model, x, "annotate_int8", mapping)
    nodes = [node for node in gm.graph.nodes if node.op.startswith("call_")]
    for node in nodes:
        assert quant_of(node).int8 == (quant_of(node).reason == "")
    return {row.name if (row := op_of(node)) else node.name: quant_of(node).reason for node in nodes}


def conv(code: Callable[..., Any], **modules: nn.Module) -> Written:
    return Written(code, conv=nn.Conv2d(4, 4, 1), **modules)


def test_ops_that_compute_lead_and_the_cheap_ones_follow() -> None:
    model = conv(lambda m, x: F.max_pool2d(torch.sigmoid(m.conv(x)), 2).flatten(1))
    assert decisions(model) == {"conv2d": "", "sigmoid": "", "max_pool2d": "", "flatten": ""}


def test_what_stands_between_float_ops_stays_float() -> None:
    model = conv(lambda m, x: m.conv(torch.cumsum(torch.sigmoid(torch.cumsum(x, 1)), 1)))
    reasons = decisions(model)
    assert reasons["sigmoid"] == "neither its inputs nor all of its users run in int8"
    assert reasons["cumsum"] == "cumsum is not in the op table"
    assert reasons["conv2d"] == ""


def test_what_stands_before_an_int8_op_follows_it() -> None:
    model = conv(lambda m, x: m.conv(torch.sigmoid(torch.tanh(torch.cumsum(x, 1)))))
    assert decisions(model) == {
        "cumsum": "cumsum is not in the op table",
        "tanh": "",
        "sigmoid": "",
        "conv2d": "",
    }


def test_it_does_not_follow_if_others_read_it_in_float() -> None:
    def code(m: Any, x: Tensor) -> Any:
        y = torch.tanh(torch.cumsum(x, 1))
        return m.conv(y), torch.cumsum(y, 1)

    reasons = decisions(conv(code))
    assert reasons["tanh"] == "neither its inputs nor all of its users run in int8"
    assert reasons["conv2d"] == ""


@pytest.mark.parametrize("residual", [False, True])
def test_the_activation_of_a_float_layer_is_float_with_it(residual: bool) -> None:
    def code(m: Any, x: Tensor) -> Any:
        y = m.first(x)
        return m.conv(F.relu6(F.silu(y + x if residual else y)))

    mapping = get_default_qconfig_mapping().set_module_name("first", None).set_object_type(operator.add, None)
    reasons = decisions(conv(code, first=nn.ConvTranspose2d(4, 4, 1)), mapping=mapping)
    assert reasons["silu"] == f"it is the activation of {'add' if residual else 'first'}, which stays float"
    assert reasons["clamp"] == "it is the activation of silu, which stays float"
    assert reasons["conv2d"] == ""


def test_what_is_no_layers_activation_alone_is_not_float_with_it() -> None:
    model = conv(lambda m, x: m.conv(F.relu(y := m.first(x))) + m.conv(y), first=nn.Conv2d(4, 4, 1))
    mapping = get_default_qconfig_mapping().set_module_name("first", None)
    assert decisions(model, mapping=mapping)["relu"] == ""


def test_what_reads_only_the_graphs_input_runs_in_int8() -> None:
    assert decisions(Written(lambda m, x: torch.tanh(F.max_pool2d(x, 2)))) == {"max_pool2d": "", "tanh": ""}


def test_a_qconfig_of_torch_ao_that_measures_a_fixed_range_means_float_unless_neighbours_do_not() -> None:
    ao = pytest.importorskip("torch.ao.quantization")
    theirs = interop.qconfig_mapping(ao.QConfigMapping().set_global(ao.default_qconfig))
    fixed = interop.qconfig_mapping(ao.get_default_qconfig_mapping("x86"))
    alone = Written(lambda m, x: torch.tanh(torch.sigmoid(x)))
    reasons = decisions(alone, mapping=theirs)
    assert "of torch.ao, measures the range that the maths gives" in reasons["sigmoid"]
    assert reasons["tanh"] == "neither its inputs nor all of its users run in int8"
    for mapping in (None, fixed):
        assert decisions(alone, mapping=mapping) == {"sigmoid": "", "tanh": ""}
    assert decisions(conv(lambda m, x: m.conv(torch.sigmoid(x))), mapping=theirs) == {"sigmoid": "", "conv2d": ""}
    assert decisions(Written(lambda m, x: F.hardswish(x)), mapping=theirs) == {"hardswish": ""}


@pytest.mark.parametrize(
    ("qconfig", "reason"),
    [
        (None, "its qconfig is None, by set_global(None)"),
        (QConfig(PlaceholderObserver.with_args(dtype=torch.float16), WEIGHT), "torch.float16 activations"),
        (QConfig(MinMaxObserver.with_args(is_dynamic=True), WEIGHT), "its qconfig is dynamic"),
        (QConfig(PerChannelMinMaxObserver.with_args(ch_axis=1), WEIGHT), "activations with a scale a channel"),
        (QConfig(ACTIVATION, None), "its qconfig has no weight observer"),
        (QConfig(ACTIVATION, MinMaxObserver), "torch.uint8 weights; kernels take int8"),
        (QConfig(ACTIVATION, MinMaxObserver.with_args(dtype=torch.int8)), "affine weights"),
        (QConfig(ACTIVATION, WEIGHT.with_args(ch_axis=1)), "weights with a scale along axis 1"),
    ],
)
def test_a_qconfig_that_no_kernel_fits(qconfig: QConfig | None, reason: str) -> None:
    mapping = QConfigMapping().set_global(qconfig)
    assert reason in decisions(conv(lambda m, x: m.conv(x)), mapping=mapping)["conv2d"]


def test_a_reduction_may_be_just_short_enough_for_int32() -> None:
    longest = (2**31 - 1) // (255 * 128)
    assert decisions(nn.Sequential(nn.Linear(longest, 1)).eval(), torch.randn(1, longest)) == {"linear": ""}
    (reason,) = decisions(nn.Sequential(nn.Linear(longest + 1, 1)).eval(), torch.randn(1, longest + 1)).values()
    assert reason == f"a reduction over {longest + 1} elements could overflow int32; at most {longest} fit"


@pytest.mark.parametrize(
    ("code", "op", "reason"),
    [
        (lambda m, x: F.linear(m.conv(x), x.mean((0, 1))), "linear", "its weight is computed, not a parameter"),
        (lambda m, x: m.conv(x).mean(1), "mean", "it is a mean over dimensions (1,) of 4"),
        (lambda m, x: torch.cumsum(m.conv(x), 1), "cumsum", "cumsum is not in the op table"),
        (lambda m, x: m.norm(m.conv(x)), "norm", "LocalResponseNorm is not in the op table"),
        (lambda m, x: m.conv(x[0])[None], "conv2d", "its input has 3 dimensions; the kernel takes 4"),
        (
            lambda m, x: F.conv_transpose2d(x, m.conv.weight * x.mean()),
            "conv_transpose2d",
            "its weight is computed",
        ),
        (lambda m, x: m.conv(x) > 0, "gt", "an answer of true or false has no scale"),
        (lambda m, x: torch.max(m.conv(x)), "max_1", "it looks for the maximum along a dimension"),
        (lambda m, x: m.conv(x) ** m.conv(x), "pow_1", "its base or its exponent is not constant"),
    ],
)
def test_a_call_that_no_kernel_fits(code: Callable[..., Any], op: str, reason: str) -> None:
    assert reason in decisions(conv(code, norm=nn.LocalResponseNorm(2)))[op]


def test_a_double_is_no_float32() -> None:
    reasons = decisions(Written(lambda m, x: torch.relu(x.double())))
    assert "is torch.float64, not float32" in reasons["relu"]
