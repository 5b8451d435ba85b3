"""Broken passes of many kinds: each is one PassError, and the model that went in still works."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxquant import convert_fx, get_default_qconfig_mapping, ops, prepare_fx, register_pass, without
from fxquant.errors import ConfigError, PassError
from fxquant.graph import surgery
from fxquant.observer import MinMaxObserver
from fxquant.plugin import op, op_of

pytestmark = pytest.mark.usefixtures("own_passes")

X = torch.randn(2, 3, 6, 6)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3), nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> Any:
        y = torch.relu(self.conv(x))
        return self.pool(y), y


def call(gm: GraphModule, target: Any) -> Node:
    return next(node for node in gm.graph.nodes if node.target is target)


def cycle(gm: GraphModule) -> Any:
    call(gm, ops.conv2d).replace_input_with(next(iter(gm.graph.nodes)), call(gm, ops.relu))
    return gm


def dangling(gm: GraphModule) -> Any:
    other = torch.fx.Graph().placeholder("stray")
    call(gm, ops.relu).args = (other,)
    return gm


def wrong_dtype(gm: GraphModule) -> Any:
    layer = next(n for n in gm.graph.nodes if n.op == "call_module" and n.args[0].op == "call_module")
    layer.args = layer.args[0].args[:1]
    return gm


def dropped_output(gm: GraphModule) -> Any:
    output = next(reversed(gm.graph.nodes))
    output.args = ((output.args[0][0],),)
    return gm


def stale_meta(gm: GraphModule) -> Any:
    call(gm, ops.relu).args = (next(iter(gm.graph.nodes)),)
    return gm


def says_another_shape(gm: GraphModule) -> Any:
    call(gm, ops.conv2d).meta["shape"] = torch.Size([1, 2, 3])
    return gm


def exception(gm: GraphModule) -> Any:
    node = call(gm, ops.relu)
    return {}[node]


def swapped_outputs(gm: GraphModule) -> Any:
    output = next(reversed(gm.graph.nodes))
    output.args = (tuple(reversed(output.args[0])),)
    return gm


def missing_argument(gm: GraphModule) -> Any:
    call(gm, ops.relu).args = ()
    return gm


def empties_the_graph(gm: GraphModule) -> Any:
    for node in reversed(list(gm.graph.nodes)):
        gm.graph.erase_node(node)
    return gm


def loses_meta(gm: GraphModule) -> Any:
    call(gm, ops.conv2d).meta.clear()
    return gm


def renames_an_input(gm: GraphModule) -> Any:
    next(iter(gm.graph.nodes)).target = "renamed"
    return gm


def returns_none(gm: GraphModule) -> Any:
    gm.recompile()


def returns_a_graph(gm: GraphModule) -> Any:
    return gm.graph


def deletes_a_parameter(gm: GraphModule) -> Any:
    del gm.conv.weight
    return gm


def leaves_an_observer(gm: GraphModule) -> Any:
    name = surgery.add_module(gm, "late", MinMaxObserver())
    last = next(reversed(gm.graph.nodes))
    seen = last.args[0][0]
    last.replace_input_with(seen, surgery.call_module(last, name, seen))
    return gm


def quantize_deleted(gm: GraphModule) -> Any:
    node = next(n for n in gm.graph.nodes if n.target is ops.quantize and n.args[0].target is ops.relu)
    node.replace_all_uses_with(node.args[0])
    gm.graph.erase_node(node)
    return gm


def integers_into_float(gm: GraphModule) -> Any:
    node = call(gm, ops.dequantize)
    node.replace_all_uses_with(node.args[0])
    gm.graph.erase_node(node)
    return gm


def another_scale(gm: GraphModule) -> Any:
    node = call(gm, ops.dequantize)
    node.args = (node.args[0], node.args[1]._replace(scale=0.5))
    return gm


def integers_returned(gm: GraphModule) -> Any:
    output = next(reversed(gm.graph.nodes))
    reals = output.args[0]
    output.args = ((reals[0].args[0], reals[1]),)
    return gm


def floats_into_an_integer_op(gm: GraphModule) -> Any:
    node = call(gm, ops.int8_conv2d)
    node.args = (next(iter(gm.graph.nodes)), *node.args[1:])
    return gm


def layer_without_input(gm: GraphModule) -> Any:
    next(n for n in gm.graph.nodes if n.op == "call_module" and n.args[0].op == "call_module").args = ()
    return gm


def observer_bypassed(gm: GraphModule) -> Any:
    node = next(n for n in gm.graph.nodes if n.op == "call_module" and n.args[0].target is ops.relu)
    node.replace_all_uses_with(node.args[0])
    gm.graph.erase_node(node)
    return gm


def weight_not_observed(gm: GraphModule) -> Any:
    node = next(n for n in gm.graph.nodes if n.op == "call_module" and n.args[0].op == "get_attr")
    node.replace_all_uses_with(node.args[0])
    gm.graph.erase_node(node)
    return gm


def observers_forgotten(gm: GraphModule) -> Any:
    for node in gm.graph.nodes:
        node.meta.pop("observer", None)
    return gm


def no_decision(gm: GraphModule) -> Any:
    call(gm, ops.conv2d).meta["quant"] = True
    return gm


def weight_of_another_shape(gm: GraphModule) -> Any:
    surgery.set_parameter(gm, "conv.weight", torch.randn(4, 3, 5, 5))
    return gm


def in_double(gm: GraphModule) -> Any:
    return gm.double()


def weight_is_nan(gm: GraphModule) -> Any:
    gm.get_parameter("conv.weight").data[0, 0, 0, 0] = torch.nan
    return gm


def unknown_method(gm: GraphModule) -> Any:
    relu = call(gm, ops.relu)
    with gm.graph.inserting_before(relu):
        relu.args = (gm.graph.call_method("no_such_method", relu.args),)
    return gm


def sum_in_between(gm: GraphModule) -> Any:
    relu = call(gm, ops.relu)
    with gm.graph.inserting_before(relu):
        relu.args = (gm.graph.call_function(torch.sum, relu.args),)
    return gm


def no_tensor(gm: GraphModule) -> Any:
    call(gm, ops.relu).args = (None,)
    return gm


def float_bias(gm: GraphModule) -> Any:
    bias = op_of(call(gm, ops.int8_conv2d)).bind(call(gm, ops.int8_conv2d))["bias"]
    surgery.set_constant(gm, bias.target, torch.zeros(4))
    return gm


def constant_output(gm: GraphModule) -> Any:
    output = next(reversed(gm.graph.nodes))
    output.args = ((output.args[0][0], 5),)
    return gm


def doubles_an_output(gm: GraphModule) -> Any:
    output = next(reversed(gm.graph.nodes))
    with gm.graph.inserting_before(output):
        output.args = ((gm.graph.call_method("double", (output.args[0][0],)), output.args[0][1]),)
    return gm


def says_that_it_is_single(gm: GraphModule) -> Any:
    doubles_an_output(gm)
    double = next(node for node in gm.graph.nodes if node.target == "double")
    double.meta.update({key: double.args[0].meta[key] for key in ("shape", "dtype")})
    return gm


def doubles_within(gm: GraphModule) -> Any:
    pool = call(gm, ops.avg_pool2d)
    with gm.graph.inserting_before(pool):
        pool.args = (gm.graph.call_method("double", pool.args[:1]), *pool.args[1:])
    return gm


def two_of_a_name(gm: GraphModule) -> Any:
    call(gm, ops.relu).name = "conv2d"
    return gm


BROKEN: dict[Callable[..., Any], tuple[str, str, str]] = {
    cycle: ("fuse", "conv2d", "it reads relu.*, which is computed after it"),
    dangling: ("fuse", "relu", "it reads stray, which is not in the graph"),
    wrong_dtype: ("lower", "conv", "it reads x, which is not uint8"),
    dropped_output: ("annotate", "output", "the model gave 2 values, and gives 1"),
    stale_meta: ("fuse", "relu", r"its meta\['shape'\] is \(2, 4, 4, 4\), but it gives \(2, 3, 6, 6\)"),
    says_another_shape: ("fuse", "conv2d", r"its meta\['shape'\] is \(1, 2, 3\), but it gives \(2, 4, 4, 4\)"),
    exception: ("observe", "relu", "it raised KeyError: relu"),
    swapped_outputs: ("fuse", "relu", r"output 0 of the model was \(2, 4, 2, 2\), and is \(2, 4, 4, 4\)"),
    missing_argument: ("fuse", "relu", r"its arguments do not fit relu\(x.*: missing a required argument: 'x'"),
    empties_the_graph: ("fuse", "", "the model gave 2 values, and gives 0"),
    loses_meta: ("fuse", "conv2d", "its meta has lost the shape"),
    renames_an_input: ("fuse", "output", "the model took x, and takes renamed"),
    returns_none: ("convert", "", "it returned None; a pass returns the GraphModule"),
    returns_a_graph: ("normalize", "", "it returned a Graph; a pass returns the GraphModule"),
    deletes_a_parameter: ("fuse", "conv_weight", "the model has no conv.weight any more"),
    leaves_an_observer: ("fold", "late", "an observer is left after convert"),
    quantize_deleted: ("convert", "dequantize", "it reads relu, which is not uint8"),
    integers_into_float: ("convert", "conv2d", "it reads quantize, which is uint8"),
    another_scale: ("convert", "dequantize", r"its qparams are QParams\(scale=0.5, .*, but quantize quantizes with"),
    integers_returned: ("fold", "int8_avg_pool2d", "output 0 of the model is uint8"),
    floats_into_an_integer_op: ("fold", "int8_conv2d", "it reads x, which is not uint8"),
    layer_without_input: ("lower", "conv", r"its arguments do not fit Int8Conv2d\(.*missing a required argument: 'x'"),
    observer_bypassed: ("observe", "relu", "nothing calls activation_post_process_1, which is to observe it"),
    weight_not_observed: ("observe", "conv2d", "its weight is not observed, and is to be integers"),
    observers_forgotten: ("observe", "activation_post_process", "the meta of x does not say that this observes it"),
    no_decision: ("annotate", "conv2d", r"its meta\['quant'\] is True"),
    weight_of_another_shape: (
        "fuse",
        "conv_weight",
        r"its meta\['shape'\] is \(4, 3, 3, 3\), but it gives \(4, 3, 5, 5\)",
    ),
    in_double: ("fuse", "conv_weight", r"its meta\['dtype'\] is torch.float32, but it gives torch.float64"),
    weight_is_nan: ("fuse", "conv_weight", "conv.weight holds NaN"),
    unknown_method: (
        "fuse",
        "no_such_method",
        "it cannot be computed of what it reads: AttributeError: .*no_such_method",
    ),
    sum_in_between: ("fuse", "relu", r"its meta\['shape'\] is \(2, 4, 4, 4\), but it gives \(\)"),
    no_tensor: ("fuse", "relu", "it cannot be computed of what it reads: TypeError: .*must be Tensor, not NoneType"),
    float_bias: ("fold", "conv_bias", r"its meta\['dtype'\] is torch.int32, but it gives torch.float32"),
    constant_output: ("normalize", "output", r"output 1 of the model was \(2, 4, 4, 4\), and is the constant 5"),
    doubles_an_output: ("fold", "double", "output 0 of the model was torch.float32, and is torch.float64"),
    says_that_it_is_single: ("lower", "double", r"its meta\['dtype'\] is torch.float32, but it gives torch.float64"),
    doubles_within: ("convert", "avg_pool2d", r"its meta\['dtype'\] is torch.float32, but it gives torch.float64"),
    two_of_a_name: ("fuse", "conv2d", "another node has the same name"),
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_what_a_pass_breaks_is_one_error(broken: Callable[..., Any]) -> None:
    stage, node, reason = BROKEN[broken]
    model = Net().eval()
    expected = model(X)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    prepared(X)
    quantized = convert_fx(prepared)(X)
    register_pass(stage)(broken)
    with pytest.raises(PassError, match=reason) as caught:
        convert_fx(prepare_fx(model, get_default_qconfig_mapping(), (X,)))
    error = caught.value
    assert error.name == broken.__name__
    assert error.node.lstrip("_").startswith(node)
    assert bool(error.node) == bool(node)
    assert f"the pass {broken.__name__} (" in str(error)
    assert "test_blame.py:" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    torch.testing.assert_close(model(X), expected, rtol=0, atol=0)
    if stage in ("convert", "fold", "lower"):
        torch.testing.assert_close(convert_fx(prepared, passes=[without(broken.__name__)])(X), quantized)


def test_the_message_has_the_diff() -> None:
    register_pass("fuse")(dangling)
    with pytest.raises(PassError, match=r"(?s)--- before\n\+\+\+ dangling\n.*\n-.*relu.*\n\+.*stray"):
        prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))


def test_the_message_names_tensors_whose_values_changed() -> None:
    def doubled_and_wrong(gm: GraphModule) -> GraphModule:
        gm.get_parameter("conv.weight").data.mul_(2)
        return missing_argument(gm)  # type: ignore[no-any-return]

    model = Net().eval()
    weight = model.conv.weight.clone()
    register_pass("fuse")(doubled_and_wrong)
    with pytest.raises(PassError, match=r"(?s)--- before.*\n~ conv.weight: its values changed$"):
        prepare_fx(model, get_default_qconfig_mapping(), (X,))
    assert torch.equal(model.conv.weight, weight)


def test_a_built_in_pass_that_fails_names_the_plug_ins_before_it() -> None:
    def scribbles(gm: GraphModule) -> GraphModule:
        for node in gm.graph.nodes:
            node.meta["qconfig"] = 5
        return gm

    register_pass("annotate", before="annotate_int8")(scribbles)
    with pytest.raises(PassError, match=r"the pass annotate_int8 .*before it ran scribbles \(.*test_blame.py:"):
        prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))


def test_what_a_body_needs_numbers_for_is_not_judged() -> None:
    @op()
    def first_is_small(x: torch.Tensor) -> torch.Tensor:
        return x if x.flatten()[0].item() < 1e9 else x[..., 0]

    def inserts_it(gm: GraphModule) -> GraphModule:
        relu = call(gm, ops.relu)
        surgery.insert_after(relu, lambda x: surgery.emit(surgery.next_node(x), first_is_small, x))
        return gm

    register_pass("fuse")(inserts_it)
    model = Net().eval()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    torch.testing.assert_close(prepared(X), model(X))


def test_errors_for_the_user_stay_as_they_are() -> None:
    def choosy(gm: GraphModule) -> GraphModule:
        raise ConfigError("give it a batch norm")

    register_pass("fuse")(choosy)
    with pytest.raises(ConfigError, match=r"^give it a batch norm$"):
        prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))


def test_what_a_later_pass_mends_is_no_error() -> None:
    def another_spelling(gm: GraphModule) -> GraphModule:
        surgery.retarget(call(gm, ops.relu), torch.relu, {})
        return gm

    def mended(gm: GraphModule) -> GraphModule:
        surgery.retarget(call(gm, torch.relu), ops.relu, {})
        return gm

    register_pass("fuse", before="fuse_lone_batch_norm")(another_spelling)
    with pytest.raises(PassError, match=r"another_spelling .*user's spelling"):
        prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))
    register_pass("fuse")(mended)
    prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))


def test_built_in_passes_hold_under_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_DEBUG", "1")
    prepared = prepare_fx(Net().eval(), get_default_qconfig_mapping(), (X,))
    prepared(X)
    convert_fx(prepared)
