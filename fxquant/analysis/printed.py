"""Tables as text, the same wherever they are printed."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table


def printed(*tables: Table, width: int = 160) -> str:
    """The tables, each line ended; in a notebook too, where rich would show them by themselves."""
    text = StringIO()
    console = Console(file=text, width=width, force_jupyter=False)
    for table in tables:
        console.print(table)
    return text.getvalue()
