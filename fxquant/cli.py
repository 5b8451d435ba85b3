"""The `fxquant` command: each subcommand is a function in a module of its own."""

from __future__ import annotations

import sys

import typer

from fxquant.bench.command import bench
from fxquant.demo.demo import demo
from fxquant.doctor import doctor
from fxquant.drawing.command import diff_command, draw_command
from fxquant.errors import FxquantError
from fxquant.graph.listing import passes

app = typer.Typer(
    help="Compile float PyTorch models into int8 models for the CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(doctor)
app.command()(bench)
app.command()(passes)
app.command("draw")(draw_command)
app.command("diff")(diff_command)


def main() -> None:
    """Runs the command line; an error of ours is shown as its message alone, with exit code 1."""
    try:
        app()
    except FxquantError as error:
        sys.exit(f"{type(error).__name__}: {error}")
