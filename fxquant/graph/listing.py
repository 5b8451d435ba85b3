"""`fxquant passes`: the pipeline as it runs here, plug-ins included."""

from __future__ import annotations

import inspect
from pathlib import Path

from fxquant.graph.registry import STAGES, Pass, all_of


def passes() -> None:
    """List every pass in running order, by stage: what it does, where its code is, whether it is optional."""
    for stage in STAGES:
        print(stage)
        for each in all_of(stage):
            print(_line(each))


def _line(each: Pass) -> str:
    marks = [
        *(["optional"] if each.optional else []),
        *([] if each.builtin else ["plug-in"]),
        *([f"replaces {each.replaces}"] if each.replaces else []),
    ]
    name = f"{each.name} ({', '.join(marks)})" if marks else each.name
    return f"  {name:<36} {_says(each)}\n  {'':<36} {_relative(each.source)}"


def _says(each: Pass) -> str:
    """The first line of its docstring, or of its file's."""
    text = inspect.getdoc(each.declared) or inspect.getdoc(inspect.getmodule(each.declared)) or ""
    return " ".join(text.partition("\n")[0].split())


def _relative(source: str) -> str:
    path, _, line = source.rpartition(":")
    here = Path.cwd()
    return f"{Path(path).relative_to(here)}:{line}" if Path(path).is_relative_to(here) else source
