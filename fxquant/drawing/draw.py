"""Draws a model after any stage: what runs in int8, what stays float, and where in the user's model it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from fxquant.arguments import typed
from fxquant.drawing.describe import described
from fxquant.drawing.dot import dot_source, rendered
from fxquant.drawing.heat import Heat, heats_of
from fxquant.drawing.model import Drawing
from fxquant.drawing.page import page
from fxquant.errors import ConfigError
from fxquant.paths import reaching

FORMATS = ("html", "svg", "png", "pdf", "dot", "json", "graphml", "gexf")


@typed
def draw(model: nn.Module | Drawing, path: str | Path, *, heat: Any = None, inputs: Any = None) -> Path:
    """Writes the drawing of a model to `path` and returns the path. The model may come from any stage.

    Args:
        model: what prepare_fx, convert_fx or a pass returned, any torch.fx.GraphModule, or a Drawing.
        path: .html is a page to explore, in one file that needs no network; .svg, .png and .pdf are pictures made by
            Graphviz's program `dot`; .dot is what that program reads; .json is read by `diff`; .graphml and .gexf are
            for tools that analyse graphs.
        heat: colours nodes by "time", by "memory", by a mapping from node names to numbers, or by what `compare`
            returned; a list of these: a picture shows the first one, the page lets you choose.
        inputs: a tuple or a dict of the arguments to run the model with for heat="time"; random ones of the
            example's shapes if None.

    Raises ConfigError for another suffix, a model without a graph, or heat that does not fit the model, PathError for a
    path that cannot be written, and MissingError if a picture is asked for and `dot` is not there.
    """
    path = Path(path)
    format = format_of(path)
    drawing, names = (model, {}) if isinstance(model, Drawing) else described(model)
    heats = heats_of(model, drawing, names, heat, inputs)
    return write(path, as_bytes(drawing, format, heats, colored=heat is not None))


def as_bytes(drawing: Drawing, format: str, heats: list[Heat], colored: bool = False) -> bytes:
    """The content of a file of one of FORMATS. `colored`: by the first of `heats`."""
    if format == "html":
        return page(drawing, heats, colored).encode()
    if format == "json":
        return drawing.to_json().encode()
    if format in ("graphml", "gexf"):
        from fxquant.drawing.nx import exported

        return exported(drawing, format)
    source = dot_source(drawing, heats[0] if colored else None)
    return source.encode() if format == "dot" else rendered(source, format)


def format_of(path: Path) -> str:
    """The suffix of `path`. Raises ConfigError if it is none of FORMATS."""
    format = path.suffix[1:].lower()
    if format not in FORMATS:
        raise ConfigError(f"cannot draw to {path}: the suffix must be one of {', '.join('.' + f for f in FORMATS)}")
    return format


def write(path: Path, content: bytes) -> Path:
    """Writes a file, in folders made as needed. Raises PathError if that cannot be."""
    with reaching(path, "write the drawing to") as file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return file
