"""The page of supported ops, docs/ops.md, made from the op table:  python -m fxquant.analysis.ops_page > docs/ops.md"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

from torch.fx import Graph, Node

from fxquant.graph.limits import config_limit
from fxquant.ops import integer
from fxquant.ops.op import OPS, Op
from fxquant.qconfig import QConfig, default_dynamic_qconfig, get_default_qat_qconfig, get_default_qconfig
from fxquant.qconfig_mapping import Match

INTRODUCTION = """\
# Ops

What runs in int8, and how, under which kind of qconfig. Every spelling of an op (module, function, method, operator,
in place) is the same op. This page is made from the op table by `python -m fxquant.analysis.ops_page > docs/ops.md`.

| word | meaning |
| --- | --- |
| kernel | int8 in, int8 out, by a kernel of its own |
| table | int8 in, int8 out, by a table of 256 entries, or one a channel; the other operand, if any, is a number |
| moves | it moves integers as it would move real numbers, and its output has the scale of its input |
| rows | it computes real numbers, of a table whose rows are integers, each with a scale and a zero point |
| dynamic | real numbers in and out, and between them int8 by a kernel that finds their scales at run time |
| float | it computes real numbers, as in torch, between dequantize and quantize |

Under a QAT qconfig an op computes in training what it will compute in int8 afterwards. Every op also runs in float:
where its qconfig is None, where a call has arguments that no kernel takes, where neither its inputs nor its users run
in int8, as the activation of a layer that stays float, and as a sum that only such layers read. `fxquant.explain` names
the reason for each op that stays float. Ops that are not in the table stay float; so do comparisons, since true and
false have no scale.

Under `float_qparams_weight_only_qconfig` and `float_qparams_weight_only_qconfig_4bit` embeddings and bags of them are
"rows", of 8 or 4 bits; so they are under the QAT qconfigs for embeddings. The default mappings set these for bags,
which stay float under a qconfig of integer activations. The maximum of a bag stays float.

Under `default_weight_only_qconfig`, `per_channel_weight_only_qconfig` and `group_weight_only_qconfig` linear computes
real numbers, of int8 weights; under `float16_dynamic_qconfig`, linear and recurrent do, of float16 weights.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_tables()])


def _tables() -> Iterator[str]:
    for family, rows in _families().items():
        yield f"## {family.capitalize()}\n"
        yield "| op | what it gives | its scale | static | dynamic | QAT | float |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for row in rows:
            kinds = (get_default_qconfig(), default_dynamic_qconfig, get_default_qat_qconfig())
            cells = [_code(row.name), _meaning(row), _scale(row), *(_status(row, kind) for kind in kinds), "float"]
            yield f"| {' | '.join(cells)} |"
        yield ""


def _families() -> dict[str, list[Op]]:
    """The ops of real numbers by the file that declares them, in its order."""
    found: dict[str, list[Op]] = {}
    for row in OPS.values():
        module = row.body.__module__
        if module.startswith("fxquant.ops.") and not module.startswith((integer.__name__, "fxquant.ops.quantize")):
            found.setdefault(module.rpartition(".")[2], []).append(row)
    return dict(sorted(found.items()))


def _code(name: str) -> str:
    return f"`{name}`"


def _meaning(row: Op) -> str:
    """The first sentence of the op's docstring, in one cell."""
    text = " ".join((inspect.getdoc(row.body) or "").split("\n\n")[0].split())
    return text.rstrip(".").replace("|", "\\|").replace("*", "\\*")


def _scale(row: Op) -> str:
    return row.output.value if row.fixed is None else f"{row.output.value}: {row.fixed[0]:g}, zero point {row.fixed[1]}"


def _status(row: Op, qconfig: QConfig) -> str:
    """How the op runs where everything but the kind of qconfig fits."""
    if config_limit(_call(row, qconfig)) is not None:
        return "dynamic" if row.dynamic and qconfig.activation().is_dynamic else "float"
    if row.moves:
        return "moves"
    if not (row.kernel or row.pointwise):
        return "rows" if row.rows else "float"
    return " or ".join(word for word, holds in (("kernel", row.kernel), ("table", row.pointwise)) if holds)


def _call(row: Op, qconfig: QConfig) -> Node:
    node = Graph().call_function(row.call)
    node.meta["qconfig"] = Match(qconfig, "a default")
    return node


if __name__ == "__main__":
    sys.stdout.write(page())
