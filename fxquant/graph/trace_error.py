"""Why code could not be captured, where it stands, and what its owner can do."""

from __future__ import annotations

import re

from fxquant.errors import TraceError
from fxquant.graph.source import failing_line


class Untraceable(Exception):
    """Raised by the tracer's proxies where Python asks for a value that is only known when the model runs."""


CONTROL_FLOW = (
    "data-dependent control flow: which way it goes depends on a value that is only known when the model runs"
)
ITERATION = "iteration over a value whose length is only known when the model runs"
LENGTH = "len() of a value that is only known when the model runs"
ITEM_ASSIGNMENT = "item assignment, x[...] = y, writes into a tensor"
NUMBER = "a Python function asks for the number behind a value that is only known when the model runs"
KEYWORDS = "** of a value that is only known when the model runs"

# What Python and torch say when they meet a proxy where they need a value.
_MESSAGES = (
    (r"cannot be (used as inputs to )?control flow", CONTROL_FLOW),
    (r"'len' is not supported", LENGTH),
    (r"Proxy object cannot be iterated", ITERATION),
    (r"does not support item assignment", ITEM_ASSIGNMENT),
    (r"(argument must be|must be real number|found element of type).*(Proxy|Attribute)", NUMBER),
    (r"(Proxy|Attribute).*(cannot be interpreted as|an integer is required)", NUMBER),
    (
        r"module is not installed as a submodule",
        "it calls a module that is not one of its submodules; use nn.ModuleList",
    ),
    (r"argument of type: <class '(.*)'>", r"it passes a \1, which a graph cannot hold"),
)


def trace_error(path: str, kind: type, error: Exception) -> TraceError:
    """The error to raise when capturing the module of class `kind` at `path` failed with `error`."""
    place = f"{path!r} ({kind.__name__})" if path else f"the root module ({kind.__name__})"
    line = failing_line(error.__traceback__)
    return TraceError(
        f"cannot capture {place}: {_reason(error)}\n" + (f"{line}\n" if line else "") + _advice(path, kind)
    )


def _reason(error: Exception) -> str:
    text = str(error)
    for pattern, reason in _MESSAGES:
        found = re.search(pattern, text)
        if found:
            return found.expand(reason)
    return text if isinstance(error, Untraceable) else f"{type(error).__name__}: {text}"


def _advice(path: str, kind: type) -> str:
    if not path:
        return (
            "What to do: rewrite the line so that it does not need the value, or move it into a submodule and keep "
            'that one as it is, in float: PrepareCustomConfig().set_non_traceable_module_names(["its.path"])'
        )
    return (
        "What to do: rewrite the line so that it does not need the value, or keep the module as it is, in float:\n"
        f'    PrepareCustomConfig().set_non_traceable_module_names(["{path}"])\n'
        f"    PrepareCustomConfig().set_non_traceable_module_classes([{kind.__name__}])"
    )
