"""What prepare_fx can be told beyond the qconfig mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn


@dataclass
class PrepareCustomConfig:
    """Modules that stay as they are: not traced into, computed in float."""

    non_traceable_module_names: list[str] = field(default_factory=list)
    non_traceable_module_classes: list[type[nn.Module]] = field(default_factory=list)

    def set_non_traceable_module_names(self, names: Sequence[str]) -> PrepareCustomConfig:
        """Dotted paths of modules that are called as a whole. Returns self."""
        self.non_traceable_module_names = list(names)
        return self

    def set_non_traceable_module_classes(self, classes: Sequence[type[nn.Module]]) -> PrepareCustomConfig:
        """Classes whose instances are called as a whole. Returns self."""
        self.non_traceable_module_classes = list(classes)
        return self
