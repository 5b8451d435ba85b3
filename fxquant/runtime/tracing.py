"""What tracers and compilers make of int8 modules: torch.fx records one call each, as of a leaf."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy

from fxquant.errors import TraceError, UnsupportedError


def recorded(module: nn.Module, inputs: Any) -> Any:
    """The call of `module` in a graph that is being traced, if the inputs are values of such a graph; else None.

    Raises TraceError if `module` is itself what is traced, so that there is no graph to call it in.
    """
    if isinstance(inputs, Proxy):  # as torch.fx gives a root that takes any number of inputs
        kind = type(module).__name__
        raise TraceError(f"a {kind} is one int8 call, with nothing in it to trace; trace a module that calls it")
    for x in inputs:
        if isinstance(x, Proxy):
            tracer: Any = x.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(module), inputs, {})
    return None


class NotScripted(nn.Module):
    """Base of modules whose code is no TorchScript, although the ops that it calls may be traced."""

    def __prepare_scriptable__(self) -> Any:
        """What torch.jit.script asks for first. Raises UnsupportedError."""
        kind = self._get_name()  # type: ignore[no-untyped-call]
        raise UnsupportedError(
            f"torch.jit.script cannot compile a {kind}, which calls kernels from Python; "
            "torch.jit.trace(model, example_inputs) gives TorchScript that can be saved and loaded"
        )
