"""One HTML file about a quantized model: how good it is, where its errors arise, and what stays float and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from torch import nn

from fxquant.analysis.compare import compare
from fxquant.analysis.comparison import Comparison, cells, decibels
from fxquant.analysis.explain import Explanation, explain
from fxquant.analysis.sensitivity import Sensitivity
from fxquant.analysis.suggest import Suggestion
from fxquant.arguments import typed
from fxquant.drawing.describe import described
from fxquant.drawing.heat import heats_of
from fxquant.drawing.page import framed
from fxquant.graph.kept import meta_of
from fxquant.paths import reaching

PAGE = Path(__file__).with_name("report.html")
COMPARED = ("node", "op", "in your model", "source", "absorbed", "precision")
NUMBERS = ("SQNR dB", "alone dB", "weight dB", "cosine", "max error", "saturated", "peak")
FLOATS = ("node", "op", "in your model", "reason")
CAPTURES = ("module", "captured by", "reason", "cost")
JUDGED = ("layer", "op", "source", "alone in int8", "alone in float")

Row = Sequence[object]


@typed
def report(
    float_model: nn.Module,
    quantized: nn.Module,
    batches: Any,
    path: str | Path,
    *,
    sensitivity: Sensitivity | None = None,
    suggestion: Suggestion | None = None,
) -> Path:
    """Writes to `path` a page that needs no network: the outputs' error, the numbers of `compare`, what stays float and
    why, the drawing, and, if they are given, the results of `sensitivity` and `suggest`. Returns the path.

    `float_model`, `quantized`, `batches` as of `compare`. Raises PathError if the file cannot be written.
    """
    compared = compare(float_model, quantized, batches)
    explained = explain(quantized) if "explanation" in meta_of(quantized) else None
    name = str(meta_of(quantized).get("name") or type(float_model).__name__)
    sections = [
        _section("Summary", _summary(compared, explained)),
        _section("Suggestion", f"<pre>{escape(str(suggestion))}</pre>") if suggestion else "",
        _section("Sensitivity", _sensitivity(sensitivity)) if sensitivity else "",
        _section("Every value against the float model", _compared(compared)),
        _section("What stays float, and why", _floats(explained)) if explained else "",
        _section("How the code was captured", _captures(explained)) if explained else "",
        _section("The graph", _drawing(quantized, compared)),
    ]
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(title=escape(name), sections="\n".join(sections))
    with reaching(path, "write the report to") as file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    return file


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def table(headings: Sequence[str], rows: Iterable[Row], numbers: int = 0) -> str:
    """An HTML table, sortable by its headings, of which the last `numbers` columns are numbers."""
    first = len(headings) - numbers
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if i >= first else ''}>{escape(str(cell))}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def _summary(compared: Comparison, explained: Explanation | None) -> str:
    outputs = compared.outputs
    db = decibels(outputs.sqnr_db)
    lines = [f"Outputs: SQNR {db} dB, cosine {outputs.cosine:.5f}, largest error {outputs.max_error:.3g}."]
    if explained:
        kinds = [row.precision for row in explained.rows]
        lines.append(f"{kinds.count('int8')} operations in int8, {kinds.count('float')} in float.")
    worst = [f"{row.place or row.node} ({decibels(row.alone.sqnr_db)} dB)" for row in compared.worst(5)]
    lines.append(f"Most error of its own: {', '.join(worst)}.")
    saturated = [row for row in compared.worst(5, "saturated") if row.accumulated.saturated]
    beyond = [f"{row.place or row.node} ({row.accumulated.saturated:.2%})" for row in saturated]
    lines.append(f"Most values beyond the range: {', '.join(beyond) or 'none'}.")
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _compared(compared: Comparison) -> str:
    rows = [
        (row.node, row.op, row.place, row.source, ", ".join(row.absorbed), row.precision, *cells(row))
        for row in compared.rows
    ]
    return table((*COMPARED, *NUMBERS), rows, len(NUMBERS))


def _floats(explained: Explanation) -> str:
    rows = [(row.node, row.op, row.place, row.reason) for row in explained.float_rows]
    return table(FLOATS, rows) or "<p>Nothing.</p>"


def _captures(explained: Explanation) -> str:
    return table(CAPTURES, [(c.path or "the model", c.how, c.reason, c.cost) for c in explained.captures])


def _sensitivity(result: Sensitivity) -> str:
    rows = [(row.layer.name, row.layer.op, row.layer.source, *_two(row.alone, row.float)) for row in result.rows]
    return f"<p>All in int8: {result.int8:.4g}</p>" + table(JUDGED, rows, 2)


def _two(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.4g}" for value in values]


def _drawing(quantized: nn.Module, compared: Comparison) -> str:
    drawing, names = described(quantized)
    return framed(drawing, heats_of(quantized, drawing, names, compared, None))
