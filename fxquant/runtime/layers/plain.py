"""What the layers have in common whose kernels take plain arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fxquant.runtime.layer import Layer


class Plain(Layer):
    """A layer whose kernel takes its constants as plain arguments, in the order of the integer op."""

    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]
    native = ""  # the kernel's name in programs

    def derive(self) -> None:
        self.derived_arguments = [argument for name in self.names for argument in _flat(self.constant(name))]

    def run(self, *inputs: Tensor) -> Tensor:
        return type(self).kernel(*inputs, *self.derived_arguments)


def _flat(value: Any) -> list[Any]:
    """A NamedTuple spread into its fields; anything else by itself, tuples as the lists that torch ops take."""
    if hasattr(value, "_fields"):
        return list(value)
    return [list(value) if isinstance(value, tuple) else value]
