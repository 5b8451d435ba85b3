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


BROKEN: dict[Callable[..., Any], tuple[str, str, str]] = {
    cycle: ("fuse", "conv2d", "it reads relu.*, which is computed after it"),
    dangling: ("fuse", "relu", "it reads stray, which is not in the graph"),
    wrong_dtype: ("lower", "conv", "it reads x, which is not uint8"),
    dropped_output: ("annotate", "output", "the model gave 2 values, and gives 1"),
    stale_meta: ("fuse", "relu", r"its meta\['shape'\] is \(2, 4, 4, 4\), but it gives \(2, 3, 6, 6\)"),
    exception: ("observe", "relu", "it raised KeyError: relu"),
    swapped_outputs: ("fuse", "output", r"output 0 of the model was of shape \(2, 4, 2, 2\), and is of \(2, 4, 4, 4\)"),
    missing_argument: ("fuse", "relu", r"its arguments do not fit relu\(x.*: missing a required argument: 'x'"),
    empties_the_graph: ("fuse", "", "the model gave 2 values, and gives 0"),
    loses_meta: ("fuse", "conv2d", "its meta has lost the shape"),
    renames_an_input: ("fuse", "output", "the model took x, and takes renamed"),
    returns_none: ("convert", "", "it returned None; a pass returns the GraphModule"),
    returns_a_graph: ("normalize", "", "it returned a Graph; a pass returns the GraphModule"),
    deletes_a_parameter: ("fuse", "conv_weight", "the model has no conv.weight any more"),
    leaves_an_observer: ("fold", "late", "an observer is left after convert"),
}


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
