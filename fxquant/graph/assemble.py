"""Objects of the user's that hold traced values: results such as a key-value cache, put together anew at every call."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.fx import Proxy

Place = tuple[tuple[str, Any], ...]  # the way from an object to a value in it, by attributes and items


class Assemble(nn.Module):
    """A copy of an object, with the tensors that it is called with in their places."""

    def __init__(self, template: Any, places: list[Place]) -> None:
        super().__init__()
        self.template = template
        self.places = places

    def forward(self, *values: Any) -> Any:
        """The object that holds `values`."""
        made = copy.deepcopy(self.template)
        for place, value in zip(self.places, values, strict=True):
            _put(made, place, value)
        return made


def assembly(thing: Any) -> tuple[Assemble, list[Proxy]] | None:
    """What makes an object like `thing` from the traced values in it; None if it holds none that can be replaced."""
    found = list(_values(thing, (), set()))
    if not found:
        return None
    template = copy.deepcopy(thing)
    for place, _ in found:
        _put(template, place, None)
    return Assemble(template, [place for place, _ in found]), [value for _, value in found]


def _values(thing: Any, place: Place, seen: set[int]) -> Iterator[tuple[Place, Proxy]]:
    if issubclass(type(thing), Proxy):
        yield place, thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for step, part in _parts(thing):
        yield from _values(part, (*place, step), seen)


def _parts(thing: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    if type(thing) is list:
        yield from ((("item", i), part) for i, part in enumerate(thing))
    elif type(thing) is dict:
        yield from ((("item", key), part) for key, part in thing.items())
    elif hasattr(thing, "__dict__") and not isinstance(thing, (type, nn.Module)) and not callable(thing):
        yield from ((("attribute", name), part) for name, part in vars(thing).items())


def _put(thing: Any, place: Place, value: Any) -> None:
    *way, (kind, last) = place
    for step, name in way:
        thing = thing[name] if step == "item" else getattr(thing, name)
    if kind == "item":
        thing[last] = value
    else:
        setattr(thing, last, value)
