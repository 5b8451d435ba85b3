"""Which nodes run together: as many as can, and none that something else stands between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import Written
from random_models import INPUT, RandomModel
from regions import assert_planned_right, quantized, regions_of
from structure import structure
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from fxquant import get_default_qconfig_mapping
from fxquant.ops.op import op_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region

X = torch.linspace(-1, 1, 2 * 3 * 8 * 6).reshape(2, 3, 8, 6)


def conv(i: int, o: int) -> nn.Conv2d:
    return nn.Conv2d(i, o, 3, padding=1)


def model(code: Callable[..., Any], **modules: nn.Module) -> GraphModule:
    return quantized(Written(code, **{"stem": conv(3, 8), "a": conv(8, 8), "b": conv(8, 8), **modules}), X)


def layers_of(gm: GraphModule) -> list[set[str]]:
    """The layers of each region that are not at its boundaries."""
    found = []
    for region in regions_of(gm).values():
        layers = {name: m for name, m in region.named_modules() if isinstance(m, Layer)}
        found.append({name for name, layer in layers.items() if not layer.at_boundary})
    return found


def outside_of(gm: GraphModule) -> list[str]:
    """What the model calls beside its regions."""
    nodes = [n for n in gm.graph.nodes if n.op.startswith("call_") and not is_of_region(gm, n)]
    return [node.name for node in nodes]


def is_of_region(gm: GraphModule, node: Node) -> bool:
    """Whether a node is the call of a region, or one of its results."""
    row = op_of(node)
    if row is not None and row.name == "getitem" and isinstance(node.args[0], Node):
        return is_of_region(gm, node.args[0]) and isinstance(node.args[1], int)
    return node.op == "call_module" and isinstance(gm.get_submodule(str(node.target)), Int8Region)


def test_an_integer_model_is_one_region() -> None:
    gm = model(lambda m, x: m.b(F.silu(m.a(m.stem(x)).flatten(2).view(2, 8, 8, 6))))
    assert len(regions_of(gm)) == 1
    assert outside_of(gm) == []


def test_a_float_op_parts_two_regions() -> None:
    gm = model(lambda m, x: m.b(torch.sin(m.a(m.stem(x)))))
    assert layers_of(gm) == [{"stem", "a"}, {"b"}]
    assert outside_of(gm) == ["sin"]


def test_what_the_user_keeps_in_float_parts_two_regions() -> None:
    mapping = get_default_qconfig_mapping().set_module_name("a", None)
    written = Written(lambda m, x: m.b(m.a(m.stem(x))), stem=conv(3, 8), a=conv(8, 8), b=conv(8, 8))
    gm = quantized(written, X, mapping=mapping)
    assert layers_of(gm) == [{"stem"}, {"b"}]


def test_parallel_branches_run_together() -> None:
    """The branches never meet, and one float op is in each."""
    gm = model(lambda m, x: (m.a(torch.sin(m.stem(x))), m.b(torch.cos(m.stem(x)))))
    assert [len(layers) for layers in layers_of(gm)] == [2, 2]
    assert sorted(outside_of(gm)) == ["cos", "sin"]
    assert_planned_right(gm, X)


def test_a_region_may_need_another_order() -> None:
    """b comes last in the graph, and reads only what comes first."""

    def code(m: Any, x: Tensor) -> Any:
        y = m.stem(x)
        return m.a(torch.sin(y)), m.b(y)

    gm = model(code)
    assert layers_of(gm) == [{"stem", "b"}, {"a"}]
    assert_planned_right(gm, X)


def test_a_region_waits_for_what_comes_later_in_the_graph() -> None:
    """a reads a sine at once, c a sine of what b computes; the first region holds b, the second a and c."""

    def code(m: Any, x: Tensor) -> Any:
        y = m.stem(x)
        first = m.a(torch.sin(y))
        return first, m.c(torch.cos(m.b(y)))

    gm = model(code, c=conv(8, 8))
    assert layers_of(gm) == [{"stem", "b"}, {"a", "c"}]
    assert_planned_right(gm, X)


@pytest.mark.parametrize(
    ("move", "stays"),
    [(lambda x: x[:, [7, 0, 3]], ["getitem"]), (lambda x: F.pad(x, (-1, 2, 1, 1), mode="reflect")[:, :3], ["pad"])],
)
def test_integers_cross_what_no_program_has(move: Callable[[Tensor], Tensor], stays: list[str]) -> None:
    gm = model(lambda m, x: m.c(move(m.a(m.stem(x)))), c=conv(3, 4))
    assert outside_of(gm) == stays
    assert layers_of(gm) == [{"stem", "a"}, {"c"}]
    assert "quantize_1" not in structure(gm)
    assert_planned_right(gm, X)


def test_a_size_known_at_run_time() -> None:
    """A program knows the layout of its inputs, so it knows every size that follows from it."""
    gm = model(lambda m, x: m.b(F.interpolate(m.stem(x), size=x.shape[2] * 2)))
    assert len(regions_of(gm)) == 1
    assert_planned_right(gm, X, torch.randn(1, 3, 5, 4))


def test_a_channel_shuffle_with_sizes_of_its_own() -> None:
    def shuffled(m: Any, x: Tensor) -> Tensor:
        y = m.stem(x)
        n, c, h, w = y.size()
        return m.b(y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w))

    gm = model(shuffled)
    assert len(regions_of(gm)) == 1
    assert_planned_right(gm, X, torch.randn(1, 3, 5, 4))


def test_a_size_that_is_wanted_elsewhere() -> None:
    """It is computed there, and in the program."""

    def resized(m: Any, x: Tensor) -> tuple[Tensor, int]:
        size = m.stem(x).shape[2] * 2
        return m.b(F.interpolate(m.stem(x), size=size)), size

    gm = model(resized)
    assert len(regions_of(gm)) == 1
    assert "quantize_1" not in structure(gm)
    for x in (X, torch.randn(1, 3, 5, 4)):
        y, size = gm(x)
        assert size == y.shape[2] == 2 * x.shape[2]


def test_a_size_that_two_regions_want() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        y = m.stem(x)
        n = y.size(0)
        z = torch.sin(m.a(y.view(n, 8, 6, 8)))
        return m.b(z.view(n, 8, 8, 6)).view(n // 2, -1)

    gm = model(code)
    assert len(regions_of(gm)) == 2
    assert gm(torch.cat([X, X])).shape == (2, 2 * 8 * 8 * 6)
    assert torch.equal(gm(torch.cat([X, X])), gm(X).repeat(2, 1))


def test_movement_alone_is_no_region() -> None:
    """Between two ops that no program has."""
    gm = model(lambda m, x: m.stem(x)[:, [2, 1, 0]][:, :, :6][:, [0, 2]])
    assert len(regions_of(gm)) <= 2
    assert all(any(isinstance(m, Layer) for m in region.modules()) for region in regions_of(gm).values())
    assert_planned_right(gm, X)


def foreign_way(gm: GraphModule, start: Node, end: Node) -> bool:
    """Whether a way from `start` to `end` leads over a node of no region."""
    seen: set[tuple[Node, bool]] = set()
    todo = [(start, False)]
    while todo:
        node, foreign = todo.pop()
        if node is end and foreign:
            return True
        for user in node.users:
            step = (user, foreign or not is_of_region(gm, user))
            if step not in seen:
                seen.add(step)
                todo.append(step)
    return False


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(i, marks=pytest.mark.slow) for i in range(200, 240))])
def test_regions_are_convex_and_maximal(seed: int) -> None:
    """Between any two regions something stands that is in neither, or they would be one."""
    gm = quantized(RandomModel(seed, length=16), torch.randn(INPUT))
    gm.graph.lint()  # a way out of a region and back into it would be a cycle
    calls = [n for n in gm.graph.nodes if n.op == "call_module" and is_of_region(gm, n)]
    assert len(calls) == len(regions_of(gm)) > 0
    for i, later in enumerate(calls):
        for earlier in calls[:i]:
            assert foreign_way(gm, earlier, later) or foreign_way(gm, later, earlier)
    left = [n for n in gm.graph.nodes if n.op == "call_module" and isinstance(gm.get_submodule(str(n.target)), Layer)]
    assert left == []


def test_regions_as_text(golden: Callable[[str, str], None]) -> None:
    """Two regions, with what their graphs hold and what stands between them."""

    def code(m: Any, x: Tensor) -> Any:
        y = m.stem(x)
        a, b = m.a(y).chunk(2, 1)
        z = torch.cat((y[:, [1, 0]], torch.sin(F.interpolate(torch.cat((b, a), 1), size=(8, 6)))), 1)
        return m.c(z), y

    gm = model(code, c=conv(10, 4))
    texts = [f"{type(gm).__name__}\n{_text(gm)}"]
    texts += [f"{name}\n{_text(region)}" for name, region in regions_of(gm).items()]
    golden("regions.txt", "\n".join(texts))


def _text(gm: GraphModule) -> str:
    found = []
    for node in gm.graph.nodes:
        row = op_of(node)
        called = row.name if row else str(getattr(node.target, "__name__", node.target))
        found.append(f"  {node.name} = {called}({', '.join(n.name for n in node.all_input_nodes)})\n")
    return "".join(found)
