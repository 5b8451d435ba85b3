"""A prepared graph seen without its observers."""

from __future__ import annotations

from graphs import Written, node_of
from torch import nn
from torch.nn import functional as F

from fxquant import get_default_qconfig_mapping, ops, prepare_fx
from fxquant.graph.watching import is_watcher, readers_of, value_of


def test_observers_are_looked_through_but_those_of_weights() -> None:
    import torch

    model = Written(lambda m, x: F.max_pool2d(m.a(x), 2), a=nn.Conv2d(4, 4, 1))
    gm = prepare_fx(model, get_default_qconfig_mapping(), (torch.rand(1, 4, 6, 6),))
    conv, pool = node_of(gm, ops.conv2d), node_of(gm, ops.max_pool2d)
    (x,) = (node for node in gm.graph.nodes if node.op == "placeholder")
    assert readers_of(x) == [conv]
    assert readers_of(conv) == [pool]
    assert value_of(conv.args[0]) is x  # type: ignore[arg-type]
    assert value_of(pool.args[0]) is conv  # type: ignore[arg-type]
    weight = conv.args[1]
    assert value_of(weight) is weight  # type: ignore[arg-type]
    watchers = [str(node.target) for node in gm.graph.nodes if is_watcher(node)]
    assert watchers == ["activation_post_process_0", "activation_post_process_1"]
