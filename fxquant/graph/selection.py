"""Which passes one call runs: those that always do, and what the caller says about it.

prepare_fx(model, mapping, inputs, passes=["an_optional_one", a_function, Options(iterations=5), without("fuse_x")])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fxquant.errors import ConfigError
from fxquant.graph.registry import Pass, all_of, named, registered, with_options

Selection = Mapping[str, Sequence[Pass]]  # the passes of each stage, in running order


@dataclass(frozen=True)
class Without:
    """Among the `passes` of a call: these do not run."""

    names: tuple[str, ...]


def without(*names: str) -> Without:
    """What to put among `passes=[...]` for one call to leave out passes, built in or not."""
    return Without(names)


_TAKES = (
    "passes takes names of passes, functions and classes that register_pass decorates, instances of such classes, and "
    'without("name")'
)


def select(passes: Iterable[Any], stages: Sequence[str], call: str) -> Selection:
    """The passes that `call` runs, which runs `stages`. Raises ConfigError for what it cannot be given."""
    if isinstance(passes, (str, Tensor, Without)) or not isinstance(passes, Iterable):
        raise ConfigError(f"passes={passes!r} is no list; {_TAKES}")
    asked: dict[str, Pass] = {}
    left_out: set[str] = set()
    for item in passes:
        for each in [named(name) for name in item.names] if isinstance(item, Without) else [_pass_of(item)]:
            _check_stage(each, stages, call)
            if isinstance(item, Without):
                left_out.add(each.name)
            elif asked.setdefault(each.name, each) != each:
                raise ConfigError(f"passes gives {each.name} twice, with other options")
    if both := left_out & asked.keys():
        raise ConfigError(f"passes asks for {', '.join(sorted(both))}, and to run without; drop one of the two")
    return {stage: _running(stage, asked, left_out) for stage in stages}


def passes_of(stage: str) -> list[Pass]:
    """The passes of a stage that run where the caller says nothing, in running order."""
    return _running(stage, {}, set())


def _running(stage: str, asked: Mapping[str, Pass], left_out: set[str]) -> list[Pass]:
    running = [
        asked.get(each.name, each)
        for each in all_of(stage)
        if each.name in asked or not (each.optional or each.name in left_out)
    ]
    replaced: dict[str, Pass] = {}
    for each in running:
        if each.replaces is not None and replaced.setdefault(each.replaces, each) is not each:
            raise ConfigError(
                f"{each.name} ({each.source}) and {replaced[each.replaces].name} ({replaced[each.replaces].source}) "
                f'both replace {each.replaces}; leave one out: passes=[without("{each.name}")]'
            )
    return [each for each in running if each.name not in replaced]


def _pass_of(item: Any) -> Pass:
    if isinstance(item, str):
        return named(item)
    kind = item if callable(item) and hasattr(item, "__qualname__") else type(item)
    declared = next((each for each in registered().values() if each.declared is kind), None)
    if declared is None:
        raise ConfigError(f"{item!r} is not a pass: {_TAKES}; put @register_pass(stage=..., optional=True) on its code")
    return declared if kind is item else with_options(declared, item)


def _check_stage(each: Pass, stages: Sequence[str], call: str) -> None:
    if each.stage in stages:
        return
    other = "convert_fx" if each.stage in CONVERT else "prepare_fx"
    raise ConfigError(
        f"{each.name} belongs to the stage {each.stage}, but {call} runs {', '.join(stages)}; give it to {other}"
    )


FUSE = ("normalize", "fuse")
PREPARE = (*FUSE, "annotate", "observe")
CONVERT = ("convert", "fold", "lower", "plan")
