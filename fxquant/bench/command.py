"""`fxquant bench`: float, int8 and other libraries side by side; or how near each node is to the machine's limits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fxquant.bench.case import Job, load, parse_shape
from fxquant.bench.compare import compare
from fxquant.bench.contestants import CONTESTANTS, PEERS, Contestant
from fxquant.bench.machine import describe_machine
from fxquant.bench.report import comparison_json, comparison_table, roofline_table, write_json
from fxquant.bench.roofline import roofline as measure_roofline
from fxquant.bench.zoo import ZOO
from fxquant.errors import ConfigError, MissingError

NO_PEERS = "none"


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="names of the zoo, package.module:callable or path/to/file.py:callable", metavar="MODEL..."
        ),
    ] = None,
    zoo: Annotated[bool, typer.Option("--zoo", help=f"all of the zoo: {', '.join(ZOO)}")] = False,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", help="shape of an input for one example, such as 1x3x224x224; once for each input"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="multiplies the first size of every input")] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    peers: Annotated[str, typer.Option(help=f"with commas between: {', '.join(PEERS)}; or {NO_PEERS}")] = ",".join(
        PEERS
    ),
    roofline: Annotated[
        bool, typer.Option("--roofline", help="time, rate and share of the limit of each node")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each contestant")] = 20,
    seconds: Annotated[float, typer.Option(min=0, help="length of a turn")] = 0.15,
    json: Annotated[Path | None, typer.Option(help="also write the figures to this file")] = None,
) -> None:
    """Compare the speed of float, int8 and other libraries on a model; or see how near its nodes are to the limits."""
    jobs = [Job(model, _shapes(shapes), batch, threads) for model in _models(models, zoo)]
    contestants = chosen(peers)
    console = _console()
    machine = describe_machine(threads)
    console.print(str(machine), soft_wrap=True, markup=False, highlight=False)

    def measure(job: Job) -> dict[str, Any]:
        case = load(job)
        if roofline:
            nodes = measure_roofline(case)
            console.print(roofline_table(nodes))
            return {**asdict(job), "roofline": asdict(nodes)}
        with console.status("") as status:
            results = compare(job, contestants, rounds=rounds, budget=seconds, report=status.update)
        console.print(comparison_table(job, results))
        return comparison_json(job, results)

    figures: list[dict[str, Any]] = []
    for job in jobs:
        try:
            figures.append(measure(job))
        except MissingError as error:
            if not zoo:
                raise
            console.print(f"{job.model} left out: {error}", soft_wrap=True, markup=False, highlight=False)
            figures.append({**asdict(job), "reason": str(error)})
    if json is not None:
        write_json(json, machine, figures)


def chosen(peers: str) -> list[Contestant]:
    """Float, fxquant and those that --peers names. Raises ConfigError for a name that is none."""
    names = set() if peers == NO_PEERS else {name.strip() for name in peers.split(",")}
    if unknown := sorted(names - set(PEERS)):
        raise ConfigError(
            f"--peers {', '.join(map(repr, unknown))}: no such peer; choose of {', '.join(PEERS)}, or {NO_PEERS}"
        )
    return [row for row in CONTESTANTS if not row.peer or row.peer in names]


def _console() -> Console:
    """The terminal, or, into a file or a pipe, lines that are long enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _models(models: list[str] | None, zoo: bool) -> list[str]:
    if zoo == bool(models):
        raise ConfigError("name the models to measure, or pass --zoo for all networks that fxquant knows")
    return list(ZOO) if zoo else list(models or ())


def _shapes(shapes: list[str] | None) -> tuple[tuple[int, ...], ...]:
    return tuple(parse_shape(text) for text in shapes or ())
