"""Drawing -> one HTML file to explore: pan, zoom, fold, search, click. It loads nothing and asks no network.

The page lays the graph out itself, with Graphviz as WebAssembly (page/viz.js.gz, see page/NOTICE.txt), since folding a
box changes the layout. Its policy (Content-Security-Policy) forbids every request.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from fxquant.drawing.heat import Heat, memory
from fxquant.drawing.model import KINDS, Drawing
from fxquant.drawing.style import (
    CHANGES,
    COLORS,
    EDGE,
    GRAPH,
    HEAT,
    NODE,
    box_attributes,
    edge_attributes,
    node_attributes,
    title_of,
    value_attributes,
)

SCRIPTS = ("graph.js", "camera.js", "map.js", "panel.js", "search.js", "main.js")
HEIGHT = 640  # of the frame in a notebook, in pixels


def page(drawing: Drawing, heats: Sequence[Heat] = (), colored: bool = False) -> str:
    """The page. `colored`: it opens with the colours of the first of `heats`."""
    folder = files("fxquant.drawing") / "page"
    parts = {
        "title": html.escape(drawing.title),
        "style": (folder / "page.css").read_text(encoding="utf-8"),
        "data": _json(_data(drawing, heats, colored)),
        "viz": base64.b64encode((folder / "viz.js.gz").read_bytes()).decode(),
        "script": "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    template = (folder / "page.html").read_text(encoding="utf-8").split("%%")
    return "".join(text if i % 2 == 0 else parts[text] for i, text in enumerate(template))


def notebook_html(drawing: Drawing) -> str:
    return framed(drawing, [memory(drawing)])


def framed(drawing: Drawing, heats: Sequence[Heat]) -> str:
    """The page in a frame of its own, which can reach neither the page around it nor the network."""
    inside = html.escape(page(drawing, heats))
    style = f"width:100%;height:{HEIGHT}px;border:1px solid #8884;border-radius:6px"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{inside}"></iframe>'


def _data(drawing: Drawing, heats: Sequence[Heat], colored: bool) -> dict[str, Any]:
    by_name = {node.name: node for node in drawing.nodes}
    return {
        "title": drawing.title,
        "head": f'digraph {title_of(drawing)} {{graph [{GRAPH} bgcolor="transparent"] node [{NODE}] edge [{EDGE}]',
        "nodes": [{**asdict(node), "dot": node_attributes(node)} for node in drawing.nodes],
        "boxes": [{**asdict(box), "dot": box_attributes(box)} for box in drawing.boxes],
        "edges": [
            {
                **asdict(edge),
                "dot": edge_attributes(edge),
                "value": value_attributes(by_name[edge.tail]) if edge.labelled else "",
                "text": "\n".join(by_name[edge.tail].value.lines),
            }
            for edge in drawing.edges
        ],
        "kinds": KINDS,
        "colors": COLORS,
        "changes": CHANGES,
        "palette": HEAT,
        "heats": [_heat(heat) for heat in heats],
        "colored": colored,
    }


def _heat(heat: Heat) -> dict[str, Any]:
    values = {name: value for name, value in heat.values.items() if abs(value) < float("inf")}
    return {
        "metric": heat.metric,
        "unit": heat.unit,
        "sums": heat.sums,
        "lowIsHot": heat.low_is_hot,
        "bounds": heat.bounds,
        "values": values,
    }


def _json(value: Any) -> str:
    """As JSON that cannot end the script element that it stands in."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
