from __future__ import annotations

from typing import Any

import torch
from graphs import Written, annotated
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import QConfigMapping, get_default_qconfig
from fxquant.qconfig_mapping import Match

A, B = get_default_qconfig("x86"), get_default_qconfig("qnnpack")


def net() -> Written:
    def code(m: Any, x: Tensor) -> Tensor:
        x = m.body(x)
        x = torch.relu(x)
        x = torch.cat([x, x], 1)
        return torch.relu(m.last(x))

    body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 1), nn.ReLU())
    return Written(code, body=body, last=nn.Conv2d(8, 4, 1))


def found(mapping: QConfigMapping) -> dict[str, Match]:
    gm = annotated(net(), torch.randn(1, 3, 6, 6), "annotate_qconfig", mapping.set_global(A))
    calls = [node for node in gm.graph.nodes if node.op.startswith("call_")]
    assert [node.target.__name__ for node in calls] == [
        *("pad", "conv2d", "conv2d", "relu", "relu", "cat", "conv2d", "relu")
    ]
    names = ("pad", "body.0", "body.1", "body.2", "relu", "cat", "last", "relu_1")
    return {name: node.meta["qconfig"] for name, node in zip(names, calls, strict=True)}


def others(mapping: QConfigMapping) -> dict[str, Any]:
    """The nodes that do not have the global qconfig, and what they have."""
    return {name: match.qconfig for name, match in found(mapping).items() if match.qconfig != A}


def test_the_global_qconfig_reaches_every_op() -> None:
    matches = found(QConfigMapping())
    assert {match.qconfig for match in matches.values()} == {A}
    assert {match.source for match in matches.values()} == {"set_global(qconfig)"}


def test_a_type_reaches_modules_and_functions() -> None:
    mapping = QConfigMapping().set_object_type(nn.Conv2d, B).set_object_type(torch.relu, None)
    assert others(mapping) == {"pad": B, "body.0": B, "body.1": B, "last": B, "relu": None, "relu_1": None}


def test_a_name_reaches_all_within_and_says_so() -> None:
    mapping = QConfigMapping().set_module_name("body", B).set_module_name("body.1", None)
    assert others(mapping) == {"pad": B, "body.0": B, "body.1": None, "body.2": B}
    assert found(mapping)["body.1"].source == "set_module_name('body.1', None)"


def test_calls_are_numbered_in_the_forward_that_they_stand_in() -> None:
    assert others(QConfigMapping().set_module_name_object_type_order("", torch.relu, 1, B)) == {"relu_1": B}
    assert others(QConfigMapping().set_module_name_object_type_order("", nn.Conv2d, 0, B)) == {"last": B}


def test_a_call_that_became_two_ops_counts_once() -> None:
    assert others(QConfigMapping().set_module_name_object_type_order("body", nn.Conv2d, 0, B)) == {
        "pad": B,
        "body.0": B,
    }
    assert others(QConfigMapping().set_module_name_object_type_order("body", nn.Conv2d, 1, B)) == {"body.1": B}


def test_a_spelling_is_told_from_others_of_the_same_op() -> None:
    assert others(QConfigMapping().set_object_type(F.relu, B)) == {}
