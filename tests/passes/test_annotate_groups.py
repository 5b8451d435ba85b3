from __future__ import annotations

from collections.abc import Callable

import torch
from graphs import Written, annotated
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.graph.annotation import quant_of


def groups(code: Callable[..., Tensor]) -> list[str]:
    """The values of each group; a star marks those that an observer watches."""
    convs = {"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 1)}
    gm = annotated(Written(code, **convs), torch.randn(2, 4, 6, 6), "annotate_groups")
    found: dict[int, list[str]] = {}
    for node in gm.graph.nodes:
        quant = quant_of(node)
        if quant.group is not None:
            found.setdefault(quant.group, []).append(node.name + "*" * quant.observe)
    assert list(found) == list(range(len(found)))
    return [" ".join(names) for names in found.values()]


def test_every_computed_value_is_a_group_of_its_own() -> None:
    assert groups(lambda m, x: m.b(m.a(x))) == ["x*", "conv2d*", "conv2d_1*"]


def test_an_absorbed_value_has_no_qparams() -> None:
    assert groups(lambda m, x: F.relu(m.a(x) + x)) == ["x*", "relu*"]


def test_what_passes_values_on_shares_with_its_input() -> None:
    assert groups(lambda m, x: F.max_pool2d(m.a(x), 2).flatten(1)) == ["x*", "conv2d* max_pool2d flatten"]
    assert groups(lambda m, x: F.interpolate(m.a(x), (3, 3))) == ["x*", "conv2d* interpolate"]


def test_a_concatenation_ties_its_inputs() -> None:
    assert groups(lambda m, x: torch.cat([m.a(x), m.b(x)], 1)) == ["x*", "conv2d* conv2d_1* cat"]
    assert groups(lambda m, x: torch.cat([m.a(x), x], 1)) == ["x* conv2d* cat"]


def test_parts_share_with_the_whole() -> None:
    assert groups(lambda m, x: m.a(x).chunk(2, 1)[0]) == ["x*", "conv2d* chunk getitem"]


def test_pad_brings_a_value_of_its_own_unless_it_is_zero() -> None:
    assert groups(lambda m, x: F.pad(m.a(x), (1, 1))) == ["x*", "conv2d* pad"]
    assert groups(lambda m, x: F.pad(m.a(x), (1, 1), value=9.0)) == ["x*", "conv2d* pad*"]


def test_float_values_have_no_group() -> None:
    assert groups(lambda m, x: torch.cumsum(m.a(x), 1)) == ["x*", "conv2d*"]
