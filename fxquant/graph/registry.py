"""Every pass there is: what `register_pass` declares, built in or not, and the order of a stage.

The pipeline's list orders the built-in passes. The others say where they belong relative to those and to each other; in
which order they were imported does not matter.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch.fx import GraphModule

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.graph.plugins import load_plugins

PassFunction = Callable[[GraphModule], GraphModule]
Declared = TypeVar("Declared", bound=Callable[..., Any])  # a PassFunction, or the class of some

STAGES = ("normalize", "fuse", "annotate", "observe", "convert", "fold", "lower", "plan")


@dataclass(frozen=True)
class Pass:
    """A function from graph to graph that belongs to a stage.

    `declared`: what `register_pass` decorated, the function or the class that `run` is an instance of. `before`,
    `after`: names of passes of the same stage. `optional`: it runs only where it is asked for. `replaces`: the name of
    the pass in whose place it runs.
    """

    name: str
    stage: str
    run: PassFunction
    declared: Callable[..., Any]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    optional: bool = False
    replaces: str | None = None

    @property
    def builtin(self) -> bool:
        """Whether it comes with fxquant."""
        from fxquant.passes import PIPELINE

        return self.name in PIPELINE[self.stage]

    @property
    def source(self) -> str:
        """file:line of its code."""
        try:
            return f"{inspect.getsourcefile(self.declared)}:{inspect.getsourcelines(self.declared)[1]}"
        except (OSError, TypeError):
            return self.declared.__module__


PASSES: dict[str, Pass] = {}


@typed
def register_pass(
    stage: str,
    name: str | None = None,
    *,
    before: str | Iterable[str] = (),
    after: str | Iterable[str] = (),
    optional: bool = False,
    replaces: str | None = None,
) -> Callable[[Declared], Declared]:
    """Makes what it decorates a pass of `stage`, under its own name or `name`.

    A pass is a function from GraphModule to GraphModule, or a dataclass whose instances are. Its fields are the
    options; it runs with their defaults, unless a call is given an instance with others.

    A pass runs right behind those that it names in `after` and in front of those in `before`; without either, at the
    end of its stage, and with `replaces` in the place of another one. An `optional` pass runs only in calls that are
    given it: `prepare_fx(..., passes=["its_name"])`.

    Raises ConfigError for a stage that does not exist, a name that is taken and options without a default.
    """
    if stage not in STAGES:
        raise ConfigError(f"there is no stage {stage!r}; a pass joins one of {', '.join(STAGES)}")

    def register(declared: Declared) -> Declared:
        key = name or declared.__name__
        run = _default(declared, key) if isinstance(declared, type) else declared
        new = Pass(key, stage, run, declared, _names(before), _names(after), optional, replaces)
        _refuse_second(new)
        PASSES[key] = new
        return declared

    return register


def _names(names: Any) -> tuple[str, ...]:
    """One name, or several."""
    given = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    if strange := [name for name in given if not isinstance(name, str)]:
        raise ConfigError(f"before and after are names of passes, not {strange[0]!r}")
    return given


def _default(declared: type, name: str) -> PassFunction:
    try:
        run: PassFunction = declared()
    except TypeError as error:
        raise ConfigError(f"the pass {name} cannot run without options: {error}; give each a default") from error
    if not callable(run):
        raise ConfigError(f"the pass {name} has no __call__(self, gm), which is what runs it")
    return run


def _refuse_second(new: Pass) -> None:
    """A name may be registered again by the same code only: a notebook's cell that runs twice, a module reloaded."""
    old = PASSES.get(new.name)
    if old is not None and _path(old) != _path(new):
        raise ConfigError(
            f"{new.source} registers a pass {new.name!r}, but there is one, of {old.source}; choose another name, and "
            f"to run in its place say register_pass({new.stage!r}, replaces={new.name!r})"
        )


def _path(each: Pass) -> tuple[str, str]:
    return each.declared.__module__, each.declared.__qualname__


def registered() -> dict[str, Pass]:
    """All passes by name, once the built-in ones and those of installed packages are imported."""
    import fxquant.passes  # noqa: F401  registers them

    load_plugins()
    return PASSES


def named(name: str) -> Pass:
    """The pass of this name. Raises ConfigError, with the names that are near, if there is none."""
    try:
        return registered()[name]
    except KeyError:
        raise ConfigError(f"there is no pass {name!r}{near(name, PASSES)}") from None


def near(name: str, names: Iterable[str]) -> str:
    """What to tell whoever wrote `name`, which is none of `names`."""
    close = difflib.get_close_matches(name, names, 3)
    return f"; did you mean {' or '.join(close)}?" if close else "; `fxquant passes` lists them"


def all_of(stage: str) -> list[Pass]:
    """Every pass of a stage in running order, also those that run only where they are asked for.

    Raises ConfigError where an order is asked for that there cannot be.
    """
    from fxquant.passes import PIPELINE

    mine = {each.name: each for each in registered().values() if each.stage == stage}
    listed = list(PIPELINE[stage])
    plugged = sorted(mine.keys() - set(listed))
    if not plugged:
        return [mine[name] for name in listed]
    return [mine[name] for name in _Order(mine, listed, plugged).names]


class _Order:
    """The names of a stage's passes: each behind those that it needs, and plug-ins as near to these as can be."""

    def __init__(self, passes: dict[str, Pass], listed: list[str], plugged: list[str]) -> None:
        self.passes = passes
        self.needs: dict[str, set[str]] = {name: set() for name in passes}
        self.follows: dict[str, list[str]] = {name: [] for name in passes}
        for name, previous in zip(listed[1:], listed, strict=False):
            self.needs[name].add(previous)
        for name in plugged:
            self._plug_in(passes[name])
        self.names: list[str] = []
        for name in (*listed, *plugged):
            self._put(name, ())

    def _plug_in(self, each: Pass) -> None:
        after = each.after if each.replaces is None else (*each.after, each.replaces)
        for name in (*each.before, *after):
            _check_place(each, name)
        for name in after:
            self.needs[each.name].add(name)
            self.follows[name].append(each.name)
        for name in each.before:
            self.needs[name].add(each.name)

    def _put(self, name: str, path: tuple[str, ...]) -> None:
        if name in self.names:
            return
        if name in path:
            circle = " needs ".join((*path[path.index(name) :], name))
            raise ConfigError(f"no order of the passes is right: {circle} before it; change `before` or `after` of one")
        for need in sorted(self.needs[name]):
            self._put(need, (*path, name))
        self.names.append(name)
        for follower in self.follows[name]:
            if follower not in path and self.needs[follower] <= set(self.names):
                self._put(follower, (*path, name))


def _check_place(each: Pass, name: str) -> None:
    """`each` names `name` in before, after or replaces."""
    other = PASSES.get(name)
    if other is None:
        raise ConfigError(f"the pass {each.name} ({each.source}) names {name!r}, which is no pass{near(name, PASSES)}")
    if other.stage != each.stage:
        raise ConfigError(
            f"the pass {each.name} ({each.source}) belongs to the stage {each.stage}, and {name}, which it names in "
            f"before, after or replaces, to {other.stage}; stages run in the order {', '.join(STAGES)}"
        )


def with_options(declared: Pass, run: PassFunction) -> Pass:
    """The pass, run as this instance of its class."""
    return replace(declared, run=run)
