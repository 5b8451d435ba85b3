"""What the colours of a picture mean, as an HTML-like label of Graphviz: a title, and a row for each colour."""

from __future__ import annotations

import html
from collections.abc import Iterable

from fxquant.drawing.heat import Heat
from fxquant.drawing.model import KINDS, Drawing
from fxquant.drawing.style import CHANGES, COLORS, HEAT, printable

_SWATCH = '<td bgcolor="{}" width="18" height="12" fixedsize="true"></td>'


def legend(drawing: Drawing, heat: Heat | None = None) -> str:
    """Of the kinds that are drawn, of a diff of its changes, with `heat` of the least and the greatest value."""
    rows = [f'<td colspan="{len(HEAT) + 2}" align="left"><b>{_escaped(drawing.title)}</b></td>']
    rows += [_scale(heat)] if heat is not None else [_row(color, text) for color, text in _colors(drawing)]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<<table border="0" cellborder="0" cellspacing="2" cellpadding="0">{table}</table>>'


def _colors(drawing: Drawing) -> Iterable[tuple[str, str]]:
    changes = {node.change for node in drawing.nodes} - {""}
    if changes:
        return [(color, change) for change, color in CHANGES.items() if change in changes]
    kinds = {node.kind for node in drawing.nodes}
    return [(COLORS[kind], text) for kind, text in KINDS.items() if kind in kinds]


def _row(color: str, text: str) -> str:
    return _SWATCH.format(color) + f'<td colspan="{len(HEAT) + 1}" align="left"> {_escaped(text)}</td>'


def _scale(heat: Heat) -> str:
    cool, hot = (_escaped(f"{bound:.4g} {heat.unit}".rstrip()) for bound in heat.bounds)
    return f"<td>{_escaped(heat.metric)} {cool} </td>" + "".join(map(_SWATCH.format, HEAT)) + f"<td> {hot}</td>"


def _escaped(text: str) -> str:
    return html.escape(printable(text), quote=False)
