"""The class of a finished model: a GraphModule whose `meta` also survives pickling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule


class QuantizedModule(GraphModule):
    """What `convert_fx` returns. `meta["explanation"]` holds the rows of `explain`."""

    def __reduce__(self) -> Any:
        rebuild, arguments = super().__reduce__()
        return _rebuild, (rebuild, arguments, type(self).__name__, self.meta)


def _rebuild(
    rebuild: Callable[..., GraphModule], arguments: tuple[Any, ...], name: str, meta: dict[str, Any]
) -> QuantizedModule:
    return finished(rebuild(*arguments), name, meta)


def finished(gm: GraphModule, name: str, meta: dict[str, Any]) -> QuantizedModule:
    """`gm` as a QuantizedModule called `name`, with `meta`."""
    module = QuantizedModule(gm, gm.graph, name)
    module.train(gm.training)
    module.meta.update(meta)
    return module
