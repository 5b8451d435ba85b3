"""Why code could not be recorded, and where it stands."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from torch.fx import Graph

from fxquant.errors import TraceError
from fxquant.graph.source import Line, failing_line


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


@dataclass(frozen=True)
class Failure:
    """Why the module of class `kind` at `path` could not be recorded, and the user's line where it stopped."""

    path: str
    kind: type
    reason: str
    line: Line | None = None

    def __str__(self) -> str:
        return f"{self.reason} ({self.line.place}: {self.line.text})" if self.line else self.reason


def failure(path: str, kind: type, error: Exception) -> Failure:
    """What recording the module of class `kind` at `path` met."""
    return Failure(path, kind, _reason(error), failing_line(error.__traceback__))


def _reason(error: Exception) -> str:
    text = str(error)
    for pattern, reason in _MESSAGES:
        found = re.search(pattern, text)
        if found:
            return found.expand(reason)
    return text if isinstance(error, Untraceable) else f"{type(error).__name__}: {text}"


def check_names(graph: Graph) -> None:
    """Raises TraceError if the graph names a module or tensor as no code of torch.fx can.

    Its path is that of the module which has it.
    """
    for node in graph.nodes:
        path = str(node.target).split(".") if node.op in ("call_module", "get_attr") else []
        for depth, name in enumerate(path):
            if keyword.iskeyword(name) or re.search(r'["\\\n\r]', name):
                what = "a keyword of Python" if keyword.iskeyword(name) else "a quote, a backslash or a line break"
                message = f"torch.fx cannot write the name {name!r} as code, since it is or holds {what}: rename it"
                raise TraceError(message, ".".join(path[:depth]))
