"""The entry-point group fxquant.passes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fxquant.errors import ConfigError
from fxquant.graph import plugins
from fxquant.graph.registry import registered
from fxquant.graph.selection import passes_of

Install = Callable[[str, str], None]
PASS = """
from fxquant import register_pass

@register_pass(stage="fold")
def from_a_package(gm):
    return gm
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_passes: None) -> Install:
    """install(name, code) puts a package of one module on the path, as pip does, and no plug-in is loaded yet."""

    def put(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[fxquant.passes]\n{name} = {name}\n")
        monkeypatch.delitem(sys.modules, name, raising=False)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", False)
    return put


def test_an_installed_pass_runs(install: Install) -> None:
    install("stranger", PASS)
    assert passes_of("fold")[-1].name == "from_a_package"


def test_a_package_is_imported_once(install: Install) -> None:
    install("counting", "import builtins\nbuiltins.imported = getattr(builtins, 'imported', 0) + 1")
    for _ in range(3):
        registered()
        sys.modules.pop("counting", None)
    import builtins

    assert builtins.__dict__.pop("imported") == 1


def test_a_package_may_ask_for_passes_while_it_is_imported(install: Install) -> None:
    install("asking", f"from fxquant.graph.registry import registered\nregistered()\n{PASS}")
    assert "from_a_package" in registered()


def test_one_that_does_not_import_is_named(install: Install) -> None:
    install("broken", "import a_module_that_is_not_there")
    message = (
        "the package broken 1.5 brings passes, broken = 'broken' .*does not import: ModuleNotFoundError: "
        "No module named 'a_module_that_is_not_there'; repair, update or uninstall it"
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=message):
            passes_of("fold")


def test_a_name_that_is_taken_names_the_package(install: Install) -> None:
    install("bold", PASS.replace("from_a_package", "fold_conv"))
    with pytest.raises(ConfigError, match=r"the package bold 1.5 .*choose another name"):
        registered()
