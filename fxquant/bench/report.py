"""The figures as tables for the terminal, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from fxquant.bench.case import Job
from fxquant.bench.compare import Result
from fxquant.bench.contestants import CONTESTANTS
from fxquant.bench.contestants.fxquant_int8 import INT8
from fxquant.bench.machine import Machine
from fxquant.bench.roofline import Roofline
from fxquant.bench.timing import median_ratio
from fxquant.paths import reaching


def comparison_table(job: Job, results: Sequence[Result]) -> Table:
    """A row for each contestant; the times are milliseconds, the ratio is its time over that of fxquant int8."""
    table = Table(title=f"{job.model}, batch {job.batch}, {job.threads} thread{'s' * (job.threads > 1)}")
    table.add_column("")
    for heading in ("median ms", "10 - 90 %", "/ fxquant", "SQNR dB"):
        table.add_column(heading, justify="right", no_wrap=True)
    if any(result.reason for result in results):
        table.add_column("", overflow="fold")
    for result in results:
        if result.times is None:
            table.add_row(result.contestant, "-", "-", "-", "-", escape(result.reason))
            continue
        times, relative = result.times, ratio(result, results)
        table.add_row(
            result.contestant,
            milliseconds(times.median),
            f"{milliseconds(times.low)} - {milliseconds(times.high)}",
            f"{relative:.2f}" if relative is not None else "-",
            f"{result.sqnr_db:.1f}",
        )
    return table


def roofline_table(result: Roofline) -> Table:
    """A row for each node, and one for a plain call of the whole model."""
    table = Table(title=result.model, box=SIMPLE_HEAD)
    for heading in ("op", "in your model"):
        table.add_column(heading, overflow="fold")
    for heading in ("us", "M MAC", "KB", "G MAC/s", "limit", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        table.add_row(
            row.op,
            row.place,
            f"{row.seconds * 1e6:.1f}",
            f"{row.multiply_adds * 1e-6:.2f}" if row.multiply_adds else "-",
            f"{row.bytes / 1024:.1f}",
            f"{row.multiply_adds / row.seconds * 1e-9:.1f}" if row.multiply_adds else "-",
            row.limit or "-",
            f"{row.share:.0%}" if row.share is not None else "-",
        )
    table.add_section()
    table.add_row(
        "the whole model",
        f"nodes alone: {sum(row.seconds for row in result.rows) * 1e6:.1f} us",
        f"{result.seconds * 1e6:.1f}",
        f"{result.multiply_adds * 1e-6:.2f}",
        "",
        f"{result.multiply_adds / result.seconds * 1e-9:.1f}",
        "compute",
        f"{result.share:.0%}",
    )
    return table


def ratio(result: Result, results: Sequence[Result]) -> float | None:
    """How many times as long as fxquant int8 `result` takes; None if one of them has no times."""
    ours = next((r.turns for r in results if r.contestant == INT8.name), ())
    return median_ratio(result.turns, ours) if ours and result.turns else None


def milliseconds(seconds: float) -> str:
    """Three digits or more: 12.3, 1.23, 0.0123."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def comparison_json(job: Job, results: Sequence[Result]) -> dict[str, Any]:
    """All that is known of one model: times in seconds, the contestants' settings; an infinite SQNR is null."""
    settings = {row.name: row.settings for row in CONTESTANTS}
    rows = [
        {
            **asdict(result),
            "sqnr_db": result.sqnr_db if result.sqnr_db is not None and math.isfinite(result.sqnr_db) else None,
            "settings": settings[result.contestant],
            "ratio": ratio(result, results),
        }
        for result in results
    ]
    return {**asdict(job), "results": rows}


def write_json(path: Path, machine: Machine, models: Sequence[dict[str, Any]]) -> None:
    """One file for a run: the machine and what was measured of each model. Raises PathError if it cannot be written."""
    text = json.dumps({"machine": asdict(machine), "models": list(models)}, indent=2, allow_nan=False)
    with reaching(path, "write") as file:
        file.write_text(text + "\n")
