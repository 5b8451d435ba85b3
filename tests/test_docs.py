"""The code in README.md and in docs/ does what the text says: every block of it is run.

Python with prompts prints what it says. Python without them runs on a small MobileNetV2 and its stages. Shell commands
run in a folder that holds what they read, but for those that .ci/run runs: `sh try`, `sh test` and `sh site`.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxquant
from fxquant.demo.networks import MobileNetV2
from fxquant.demo.packages import install_command, missing_packages

ROOT = Path(__file__).parents[1]
PAGES = [str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))]
BY_CI = ("sh try", "sh test", "sh site")
NOT_CODE = ("text", "{toctree}", "{eval-rst}")


def blocks(page: str, kind: str) -> list[str]:
    return [text for found, text in all_blocks(page) if found == kind]


def all_blocks(page: str) -> list[tuple[str, str]]:
    """What stands behind ```, and the text up to the next one."""
    found = re.findall(r"^ *```([^\n]*)\n(.*?)^ *```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [(kind, text) for kind, text in found]


def plain(page: str) -> list[str]:
    return [text for text in blocks(page, "python") if ">>> " not in text]


def pages_with(blocks_of: Any) -> list[str]:
    return [page for page in PAGES if blocks_of(page)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_run(page: str) -> None:
    kinds = {kind for kind, _ in all_blocks(page)}
    assert kinds <= {"python", "sh", *BY_CI, *NOT_CODE}
    assert len(all_blocks(page)) * 2 == len(re.findall("^ *```", (ROOT / page).read_text(), re.MULTILINE))


def test_ci_runs_the_commands_that_are_left_out_here() -> None:
    ci = (ROOT / ".ci/run").read_text()
    for kind, page in (("sh try", "README.md"), ("sh test", "README.md"), ("sh site", "docs/index.md")):
        assert len(blocks(page, kind)) == 1
        assert f"run_from {page} {kind.removeprefix('sh ')}" in ci


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("page", pages_with(lambda page: [b for b in blocks(page, "python") if ">>> " in b]))
def test_examples_of_a_page_print_what_they_say(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(block for block in blocks(page, "python") if ">>> " in block)
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert len(test.examples) == text.count(">>> ")
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    """What the pages call by these names."""
    torch.manual_seed(0)
    model, batch = MobileNetV2().eval(), torch.rand(4, 3, 64, 64)
    prepared = fxquant.prepare_fx(model, fxquant.get_default_qconfig_mapping(), (batch[:1],))
    fxquant.calibrate(prepared, [batch], progress=False)
    quantized = fxquant.convert_fx(prepared)
    names = {"model": model, "prepared": prepared, "quantized": quantized, "batch": batch, "loader": batch.split(2)}
    names |= {name: getattr(fxquant, name) for name in ("draw", "compare", "convert_fx")}
    return {**names, "example_inputs": (batch[:1],)}


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(plain))
def test_code_of_a_page_runs(
    page: str, stages: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = dict(stages)
    for block in plain(page):
        exec(block, names)
    for file in re.findall(r'draw\(quantized, "(.*?)"', "".join(plain(page))):
        assert (tmp_path / file).exists()
    if "accurate" in names:
        quantized = names["accurate"](names["model"], list(names["loader"]))
        assert isinstance(quantized, nn.Module)
    assert names["quantized"](names["batch"]).shape == (4, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(lambda page: blocks(page, "sh")))
def test_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/models.py").write_text("from fxquant.demo.networks import MobileNetV2 as build\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    snapshots = {"FXQUANT_SNAPSHOTS": str(tmp_path / "folder")}
    for block in blocks(page, "sh"):
        run = ["bash", "-euo", "pipefail", "-c", block]
        subprocess.run(run, cwd=tmp_path, env={**os.environ, **snapshots, "PATH": path}, check=True)
        for file in re.findall(r"\S+\.html", block):
            assert (tmp_path / file).exists()


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_packages()), reason=f"the demo's packages are missing: {install_command()}")
def test_the_picture_of_the_readme_is_what_draw_makes(tmp_path: Path) -> None:
    def labels(path: Path) -> list[str]:
        texts: list[str] = re.findall(">([^<]+)</text>", path.read_text())
        return [re.sub(r"scale [\d.]+, zero point \d+", "qparams", text) for text in texts]

    picture = runpy.run_path(str(ROOT / "docs/pictures/block.py"))["picture"]
    assert labels(picture(tmp_path / "block.svg")) == labels(ROOT / "docs/pictures/block.svg")


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs/api.md").read_text()
    named = set(re.findall(r"^\.\. auto(?:function|class):: fxquant\.(\w+)$", page, re.MULTILINE))
    modules = re.findall(r"^\.\. automodule:: (\S+)$", page, re.MULTILINE)
    named |= {name for module in modules for name in getattr(importlib.import_module(module), "__all__", ())}
    assert set(fxquant.__all__) - named == {"ops"}  # which has a page of its own


def test_commits_that_the_pages_name_touch_what_they_say() -> None:
    """In a clone with its history: each commit has the subject, and the number of files, that add_a_pass.md tells."""
    rows = re.findall(
        r"^\| an? (.+?) \|.*\| ([0-9a-f]{7}) (.*) \|$", (ROOT / "docs/add_a_pass.md").read_text(), re.MULTILINE
    )
    files = {"pass": 2, "ISA to a kernel": 2, "op": 3}
    assert [what for what, _, _ in rows] == list(files)
    for what, commit, subject in rows:
        shown = subprocess.run(
            ["git", "show", "--format=%s", "--name-only", commit], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if shown.returncode != 0:
            pytest.skip("no git history here")
        title, *touched = shown.stdout.split("\n")
        assert title == subject
        assert len([path for path in touched if path and not path.startswith("tests/")]) == files[what]
