"""What the JSON of a file says, and the names of its tensors.

    model    {"name", "graph": GRAPH, "explanation", "captures": the rows of `explain`, "inputs": shapes and dtypes of
             the example}
    GRAPH    {"nodes": [[op, name, target, args, kwargs] …], "modules": {path: MODULE}, "tensors": {path: KIND}}
    MODULE   {"layer": class of fxquant.runtime.layers, "settings", "where"}     an int8 layer
             {"region": GRAPH}                                                   an int8 region
             {"graph": GRAPH, "name"}                                            a part with a graph of its own
             {"sequences": class of fxquant.dynamic, "options", "layers": {name: MODULE}}    an int8 LSTM, GRU or RNN
             {"nn": class of torch.nn, "arguments"}                              what stayed a module, in float
    KIND     "parameter", "buffer" or "unsaved" (a buffer that state_dict leaves out)

Tensors have the names that they have in `state_dict()`. Packed weights are not among them: they are made again, for the
machine that loads the file.
"""

from __future__ import annotations

import re

from fxquant.errors import FileError
from fxquant.saving.values import shortened

PARAMETER, BUFFER, UNSAVED = "parameter", "buffer", "unsaved"
# Graphs in graphs in graphs … of this depth at most.
DEEPEST_GRAPH = 8

# torch.fx writes names into the code that it generates, so nothing may end a name early.
_SEGMENT = re.compile(r"[^\x00-\x1f\"'\\.]+")


def checked_path(path: object) -> str:
    """A dotted path to a module or tensor. Raises FileError for anything else."""
    if not isinstance(path, str) or not all(_SEGMENT.fullmatch(part) for part in path.split(".")):
        raise FileError(f"{shortened(path)} is no path to a module or tensor")
    return path


def checked_name(name: object) -> str:
    """The name of a node, an argument or a class. Raises FileError for anything else."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise FileError(f"{shortened(name)} is no name")
    return name
