"""What `compare` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from fxquant.analysis.measures import Error
from fxquant.analysis.printed import printed
from fxquant.errors import ConfigError


@dataclass(frozen=True)
class ComparedRow:
    """A value of the quantized model against the float one.

    `accumulated`: its error in the running model; `alone`: what its layer adds to exact inputs; `weight`: that of the
    layer's weight, if it has one. `place`: where the user's model calls it.
    """

    node: str
    op: str
    precision: str
    place: str
    source: str
    absorbed: tuple[str, ...]
    accumulated: Error
    alone: Error
    weight: Error | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for pandas or JSON."""
        return {
            "node": self.node,
            "op": self.op,
            "precision": self.precision,
            "place": self.place,
            "source": self.source,
            "absorbed": list(self.absorbed),
            **{name: read(self) for name, read in NUMBERS.items()},
        }


NUMBERS: dict[str, Callable[[ComparedRow], Any]] = {
    "sqnr_db": lambda row: row.accumulated.sqnr_db,
    "alone_db": lambda row: row.alone.sqnr_db,
    "weight_db": lambda row: row.weight.sqnr_db if row.weight else None,
    "cosine": lambda row: row.accumulated.cosine,
    "max_error": lambda row: row.accumulated.max_error,
    "saturated": lambda row: row.accumulated.saturated,
    "weight_saturated": lambda row: row.weight.saturated if row.weight else None,
    "peak": lambda row: row.accumulated.peak,
}
# Those of which a large one is bad.
_ERRORS = ("max_error", "saturated", "weight_saturated", "peak")


@dataclass(frozen=True)
class Comparison:
    """The rows, in running order, and the error of the outputs. Printing it prints a table."""

    rows: tuple[ComparedRow, ...]
    outputs: Error

    def worst(self, n: int = 5, by: str = "alone_db") -> tuple[ComparedRow, ...]:
        """The `n` rows that are worst by a number of `to_dict`: the layers that make most error themselves."""
        if by not in NUMBERS:
            raise ConfigError(f"there is no number {by!r} to sort by; there are {', '.join(NUMBERS)}")
        sign = -1 if by in _ERRORS else 1
        known = [row for row in self.rows if NUMBERS[by](row) is not None]
        return tuple(sorted(known, key=lambda row: sign * NUMBERS[by](row))[:n])

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows as plain dicts: pandas.DataFrame(comparison.to_dict())."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        table = Table()
        for heading in ("node", "op", "in your model"):
            table.add_column(heading, overflow="fold")
        for heading in ("SQNR dB", "alone dB", "weight dB", "cosine", "max error", "saturated", "peak"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(*map(Text, (row.node, row.op, row.place, *cells(row))))
        worst = ", ".join(f"{row.place or row.node} {decibels(row.alone.sqnr_db)}" for row in self.worst(3))
        return f"{printed(table)}outputs: {decibels(self.outputs.sqnr_db)} dB; worst alone: {worst}"


def cells(row: ComparedRow) -> tuple[str, ...]:
    """The numbers of a row as text."""
    error = row.accumulated
    return (
        decibels(error.sqnr_db),
        decibels(row.alone.sqnr_db),
        decibels(row.weight.sqnr_db) if row.weight else "",
        f"{error.cosine:.5f}",
        f"{error.max_error:.3g}",
        f"{error.saturated:.2%}",
        f"{error.peak:.1f}",
    )


def decibels(value: float) -> str:
    """With one digit; "exact" where there is no error."""
    return "exact" if value == float("inf") else f"{value:.1f}"
