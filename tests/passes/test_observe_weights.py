from __future__ import annotations

import torch
from fxquant.passes.observe_weights import observe_weights
from graphs import Written, annotated, calls
from torch import nn

from fxquant import QConfigMapping, get_default_qconfig, ops
from fxquant.observer import MinMaxObserver, PerChannelMinMaxObserver

X = torch.randn(2, 4, 6, 6)


def net() -> Written:
    return Written(lambda m, x: m.head(m.conv(x).mean((2, 3))), conv=nn.Conv2d(4, 3, 2), head=nn.Linear(3, 5))


def test_every_weight_goes_through_an_observer_of_its_own() -> None:
    mapping = QConfigMapping().set_global(get_default_qconfig()).set_module_name("head", get_default_qconfig("qnnpack"))
    model = net()
    gm = observe_weights(annotated(model, X, "annotate_groups", mapping))
    assert calls(gm) == ["conv.weight_observer", ops.conv2d, ops.mean, "head.weight_observer", ops.linear]
    torch.testing.assert_close(gm(X), model(X))
    conv, head = gm.get_submodule("conv.weight_observer"), gm.get_submodule("head.weight_observer")
    assert (type(conv), type(head)) == (PerChannelMinMaxObserver, MinMaxObserver)
    assert torch.equal(conv.max_val, model.conv.weight.amax((1, 2, 3)))
    assert torch.equal(head.max_val, model.head.weight.max())
    assert conv.where.startswith("the weight of conv (Conv2d")


def test_the_weight_of_a_float_op_is_left_alone() -> None:
    mapping = QConfigMapping().set_global(get_default_qconfig()).set_module_name("conv", None)
    gm = observe_weights(annotated(net(), X, "annotate_groups", mapping))
    assert calls(gm) == [ops.conv2d, ops.mean, "head.weight_observer", ops.linear]


def test_a_weight_that_is_used_twice_is_observed_twice() -> None:
    gm = observe_weights(
        annotated(Written(lambda m, x: m.conv(m.conv(x)), conv=nn.Conv2d(4, 4, 1)), X, "annotate_groups")
    )
    assert calls(gm) == ["conv.weight_observer", ops.conv2d, "conv.weight_observer_1", ops.conv2d]
