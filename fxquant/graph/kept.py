"""What is kept with a model beside its graph: notes of the stages, and attributes that only the user needs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.fx import GraphModule

from fxquant.arguments import typed
from fxquant.errors import ConfigError

_NOTES = "_fxquant_notes"  # of a module that runs as Python
_KEPT = "_user_preserved_attributes"  # what a GraphModule's meta holds under this name, torch.fx sets on each deepcopy


def meta_of(model: nn.Module) -> dict[str, Any]:
    """What the stages keep with a model: a GraphModule's `meta`, or the like of a module that runs as Python."""
    return model.meta if isinstance(model, GraphModule) else vars(model).get(_NOTES, {})


def note(model: nn.Module, **what: Any) -> None:
    """Adds to `meta_of(model)`."""
    renote(model, **{**meta_of(model), **what})


def renote(model: nn.Module, **what: Any) -> None:
    """Sets `meta_of(model)`."""
    if isinstance(model, GraphModule):
        model.meta = what
    else:
        vars(model)[_NOTES] = what


def attributes_of(model: nn.Module, names: Iterable[str]) -> dict[str, Any]:
    """The attributes with these names. Raises ConfigError for one that the model has not."""
    for name in names:
        if not hasattr(model, name):
            near = difflib.get_close_matches(name, dir(model), 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"the model has no attribute {name!r} to preserve{hint}")
    return {name: getattr(model, name) for name in names}


@typed
def attach_preserved_attrs_to_model(model: nn.Module, preserved_attrs: dict[str, Any]) -> None:
    """Sets these attributes on a model, and on every deepcopy of it."""
    note(model, **{_KEPT: {**kept_attributes(model), **preserved_attrs}})
    for name, value in preserved_attrs.items():
        setattr(model, name, value)


def kept_attributes(model: nn.Module) -> dict[str, Any]:
    """What was attached to `model`."""
    return dict(meta_of(model).get(_KEPT, {}))
