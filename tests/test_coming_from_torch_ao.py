"""The page of names is complete: all of torch.ao's public ones are on it, and all on it exist here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import fxquant

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from_torch_ao.md").read_text()
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `(fxquant[\w.]*)` \|", PAGE, re.MULTILINE)
NAMES = {name: module for names, module in ROWS for name in re.findall(r"\w+", names)}
# The modules of FX graph mode, and what else of them users import.
MODULES = {
    "quantize_fx": ("prepare_fx", "prepare_qat_fx", "convert_fx", "fuse_fx", "convert_to_reference_fx"),
    "qconfig": (),
    "qconfig_mapping": (),
    "observer": (),
    "fake_quantize": (),
    "fx.custom_config": (),
    "fx.graph_module": (),
    "fx.tracer": (),
    "backend_config": (),
    "quant_type": (),
    "stubs": (),
}


def test_the_page_has_rows() -> None:
    assert len(NAMES) > 120


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_the_page_exists(name: str) -> None:
    assert hasattr(importlib.import_module(NAMES[name]), name)
    if not name.startswith("_") and not NAMES[name].startswith("fxquant.fx.tracer"):
        assert hasattr(fxquant, name) or NAMES[name] == "fxquant.fx.graph_module"


@pytest.mark.parametrize("module", MODULES)
def test_the_page_has_every_public_name_of(module: str) -> None:
    theirs = pytest.importorskip(f"torch.ao.quantization.{module}")
    public = [*getattr(theirs, "__all__", ()), *MODULES[module]]
    assert public
    assert [name for name in public if name not in NAMES] == []


def test_sub_modules_have_the_names_they_have_there() -> None:
    for module in MODULES:
        importlib.import_module(f"fxquant.{module}")


def test_all_public_names_exist() -> None:
    assert len(set(fxquant.__all__)) == len(fxquant.__all__)
    assert [name for name in fxquant.__all__ if not hasattr(fxquant, name)] == []
