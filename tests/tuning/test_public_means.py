"""Corrections are written as a stranger's would be: with the public names, and what fxquant.plugin offers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fxquant import plugin, tuning

CORRECTIONS = ("absorb_biases", "ada_round", "correct_biases", "equalize_channels", "smooth_quant")
PUBLIC = {"fxquant.errors", "fxquant.observer", "fxquant.plugin", "fxquant.qparams"}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_imports_only_what_is_public(name: str) -> None:
    source = Path(*tuning.__path__, f"{name}.py").read_text()
    imported = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert "fxquant.plugin" in imported
    assert {module for module in imported if module and module.startswith("fxquant")} <= PUBLIC
    assert "import fxquant" not in source


def test_every_name_that_is_offered_is_there_and_says_what_it_does() -> None:
    assert all(getattr(plugin, name).__doc__ for name in plugin.__all__)
