"""`fxquant draw` and `fxquant diff`: a model, or what a pass changed, as a picture or a page."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from fxquant.bench.case import Job, load, parse_shape
from fxquant.drawing.diff import diff as draw_diff
from fxquant.drawing.draw import FORMATS, draw, format_of

SUFFIXES = ", ".join(f".{format}" for format in FORMATS)


class Stage(str, Enum):
    """What is drawn of a float model."""

    FUSED = "fused"
    PREPARED = "prepared"
    CONVERTED = "converted"


class HeatBy(str, Enum):
    """What nodes can be coloured by."""

    TIME = "time"
    MEMORY = "memory"


def draw_command(
    model: Annotated[
        str,
        typer.Argument(
            help="a file of fxquant.save, a name of the zoo, package.module:callable or path/to/file.py:callable"
        ),
    ],
    output: Annotated[Path, typer.Argument(help=f"what to write; the suffix is one of {SUFFIXES}")],
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", help="shape of an input, such as 1x3x224x224; once for each input"),
    ] = None,
    stage: Annotated[Stage, typer.Option(help="calibrated, as far as it is, on random inputs")] = Stage.CONVERTED,
    heat: Annotated[HeatBy | None, typer.Option(help="colour nodes by what they take")] = None,
) -> None:
    """Draw a model: what runs in int8, what stays float, and why."""
    format_of(output)
    drawn, inputs = _loaded(model) if Path(model).is_file() else _built(model, tuple(shapes or ()), stage)
    print(draw(drawn, output, heat=heat.value if heat else None, inputs=inputs))


def diff_command(
    before: Annotated[Path, typer.Argument(help="a .json that `fxquant draw` or FXQUANT_SNAPSHOTS wrote")],
    after: Annotated[Path, typer.Argument(help="another one")],
    output: Annotated[Path, typer.Argument(help=f"what to write; the suffix is one of {SUFFIXES}")],
) -> None:
    """Draw what a pass added, removed and changed."""
    draw_diff(before, after, output)
    print(output)


def _loaded(path: str) -> tuple[nn.Module, Any]:
    from fxquant.saving import load as load_saved

    return load_saved(path), None


def _built(model: str, shapes: tuple[str, ...], stage: Stage) -> tuple[nn.Module, Any]:
    """The model at `stage`, and inputs to run it with."""
    from fxquant import convert_fx, fuse_fx, get_default_qconfig_mapping, prepare_fx

    case = load(Job(model, tuple(parse_shape(text) for text in shapes)))
    if stage is Stage.FUSED:
        return fuse_fx(case.model, example_inputs=case.inputs), case.inputs
    prepared = prepare_fx(case.model, get_default_qconfig_mapping(), case.inputs)
    for batch in case.calibration:
        prepared(*batch)
    return (prepared if stage is Stage.PREPARED else convert_fx(prepared)), case.inputs
