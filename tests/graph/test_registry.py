"""What may be registered, and in which order it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fxquant.passes import PIPELINE
from torch.fx import GraphModule

from fxquant import register_pass
from fxquant.errors import ConfigError
from fxquant.graph.registry import PASSES, all_of, named
from fxquant.graph.selection import passes_of

pytestmark = pytest.mark.usefixtures("own_passes")


def plug_in(name: str, stage: str = "fuse", **where: Any) -> Callable[[GraphModule], GraphModule]:
    """Registers a pass that changes nothing."""

    def run(gm: GraphModule) -> GraphModule:
        return gm

    run.__qualname__ = name
    return register_pass(stage, name, **where)(run)


def order(stage: str = "fuse") -> list[str]:
    return [each.name for each in all_of(stage)]


FIRST, LAST = "fuse_batch_norm", "fuse_lone_batch_norm"


@pytest.fixture(autouse=True)
def _two_passes(own_passes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage fuse as it would be with these two passes alone."""
    for name in set(PIPELINE["fuse"]) - {FIRST, LAST}:
        del PASSES[name]
    monkeypatch.setitem(PIPELINE, "fuse", (FIRST, LAST))


PLACES: dict[str, tuple[dict[str, dict[str, Any]], list[str]]] = {
    "at the end, by name": ({"b": {}, "a": {}}, [FIRST, LAST, "a", "b"]),
    "in front": ({"a": {"before": FIRST}}, ["a", FIRST, LAST]),
    "right in front": ({"a": {"before": LAST}}, [FIRST, "a", LAST]),
    "right behind": ({"a": {"after": FIRST}}, [FIRST, "a", LAST]),
    "between": ({"a": {"after": FIRST, "before": LAST}}, [FIRST, "a", LAST]),
    "each other": ({"a": {"after": "b"}, "b": {"after": "c"}, "c": {}}, [FIRST, LAST, "c", "b", "a"]),
    "behind several": ({"a": {"after": (FIRST, "z")}, "z": {}}, [FIRST, LAST, "z", "a"]),
    "in place": ({"a": {"replaces": FIRST}}, [FIRST, "a", LAST]),
    "one in front of a plug-in in front": ({"a": {"before": "z"}, "z": {"before": FIRST}}, ["a", "z", FIRST, LAST]),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_order_does_not_depend_on_that_of_imports(place: str) -> None:
    plugs, expected = PLACES[place]
    for names in itertools.permutations(plugs):
        for name in names:
            plug_in(name, **plugs[name])
        assert order() == expected
        for name in names:
            del PASSES[name]


def test_what_replaces_a_pass_runs_in_its_place() -> None:
    plug_in("mine", replaces=FIRST)
    assert [each.name for each in passes_of("fuse")] == ["mine", LAST]


def test_an_optional_replacement_waits_until_it_is_asked_for() -> None:
    plug_in("mine", replaces=FIRST, optional=True)
    assert [each.name for each in passes_of("fuse")] == [FIRST, LAST]


@pytest.mark.parametrize("where", [{"before": "fuse_batchnorm"}, {"after": "fuse_batchnorm"}, {"replaces": "fuse_bn"}])
def test_a_name_that_is_none(where: dict[str, Any]) -> None:
    plug_in("mine", **where)
    with pytest.raises(ConfigError, match=r"pass mine \(.*test_registry.py:\d+\) names 'fuse_b.*did you mean fuse_"):
        order()


def test_a_pass_is_ordered_within_its_own_stage() -> None:
    plug_in("mine", before="fold_conv")
    with pytest.raises(
        ConfigError, match=r"mine .* belongs to the stage fuse, and fold_conv, .* to fold; stages run in"
    ):
        order()


@pytest.mark.parametrize(
    ("plugs", "circle"),
    [
        ({"a": {"after": "b"}, "b": {"after": "a"}}, "a needs b needs a"),
        ({"a": {"after": "a"}}, "a needs a"),
        ({"a": {"after": LAST, "before": FIRST}}, f"{FIRST} needs a needs {LAST} needs {FIRST}"),
    ],
)
def test_a_circle_is_named(plugs: dict[str, dict[str, Any]], circle: str) -> None:
    for name, where in plugs.items():
        plug_in(name, **where)
    with pytest.raises(ConfigError, match=f"{circle} before it; change"):
        order()


def test_a_name_belongs_to_one_code() -> None:
    def run(gm: GraphModule) -> GraphModule:
        return gm

    with pytest.raises(ConfigError, match=r"test_registry.*fold_pad.*passes/fold_pad.py:\d+.*replaces='fold_pad'"):
        register_pass("fold", "fold_pad")(run)
    register_pass("fold", "mine")(run)
    register_pass("fold", "mine", optional=True)(run)  # the cell of a notebook runs again
    assert named("mine").optional


def test_options_have_defaults() -> None:
    @dataclass
    class Scaled:
        factor: float

        def __call__(self, gm: GraphModule) -> GraphModule:
            return gm

    with pytest.raises(ConfigError, match=r"Scaled cannot run without options: .*'factor'; give each a default"):
        register_pass("fuse")(Scaled)


def test_an_instance_runs() -> None:
    class Idle:
        pass

    with pytest.raises(ConfigError, match="Idle has no __call__"):
        register_pass("fuse")(Idle)
