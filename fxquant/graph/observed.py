"""The class of a prepared model, and the attributes that a graph does not need but the user does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.fx import GraphModule

from fxquant.errors import ConfigError

# torch.fx sets what a GraphModule's meta holds under this name on each deepcopy.
_KEPT = "_user_preserved_attributes"


class ObservedGraphModule(GraphModule):
    """What prepare_fx returns: the model in float, with observers."""


def observed(gm: GraphModule) -> ObservedGraphModule:
    """`gm` as an ObservedGraphModule, with its meta."""
    made = ObservedGraphModule(gm, gm.graph, type(gm).__name__)
    made.train(gm.training)
    made.meta.update(gm.meta)
    return made


def attributes_of(model: nn.Module, names: Iterable[str]) -> dict[str, Any]:
    """The attributes with these names. Raises ConfigError for one that the model has not."""
    for name in names:
        if not hasattr(model, name):
            near = difflib.get_close_matches(name, dir(model), 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"the model has no attribute {name!r} to preserve{hint}")
    return {name: getattr(model, name) for name in names}


def attach_preserved_attrs_to_model(model: nn.Module, preserved_attrs: dict[str, Any]) -> None:
    """Sets these attributes on a GraphModule, and on every deepcopy of it."""
    meta: dict[str, Any] = model.meta  # type: ignore[assignment]
    meta[_KEPT] = {**meta.get(_KEPT, {}), **preserved_attrs}
    for name, value in preserved_attrs.items():
        setattr(model, name, value)


def kept_attributes(model: nn.Module) -> dict[str, Any]:
    """What was attached to `model`."""
    meta: Any = getattr(model, "meta", {})
    return dict(meta.get(_KEPT, {}))
