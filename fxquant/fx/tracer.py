"""The tracer, under the path and with the arguments that it has in torch.ao.quantization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.fx import Graph
from torch.fx.proxy import Scope, ScopeContextManager

from fxquant.graph.origin import origin_of
from fxquant.graph.trace import Tracer

__all__ = ["QuantizationTracer", "Scope", "ScopeContextManager"]


class QuantizationTracer(Tracer):
    """Traces a module symbolically; modules of these names and classes stay calls.

    `node_name_to_scope`: the path and the class of the module that each node comes from.
    """

    def __init__(
        self, skipped_module_names: Sequence[str] = (), skipped_module_classes: Sequence[Callable[..., Any]] = ()
    ) -> None:
        super().__init__(leaf_names=skipped_module_names, leaf_classes=skipped_module_classes)  # type: ignore[arg-type]

    def trace(self, root: nn.Module, concrete_args: dict[str, Any] | None = None) -> Graph:  # type: ignore[override]
        """The graph of `root`."""
        graph = super().trace(root, concrete_args)
        origins = {node.name: origin for node in graph.nodes if (origin := origin_of(node)) is not None}
        self.node_name_to_scope = {name: (o.module_path, o.module_type or type(root)) for name, o in origins.items()}
        return graph
