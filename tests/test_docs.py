"""The code in README.md and in docs/ does what the text says."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]


def python_blocks(path: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("path", [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/*.md"))])
def test_examples_of_a_page_print_what_they_say(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(python_blocks(path))
    test = doctest.DocTestParser().get_doctest(text, {}, path, path, 0)
    assert len(test.examples) == text.count(">>> ")
    assert doctest.DocTestRunner().run(test).failed == 0


def test_int8_arithmetic_has_examples() -> None:
    assert len(python_blocks("docs/int8_arithmetic.md")) >= 4


def test_usage_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [usage] = python_blocks("README.md")
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    names = {"model": model, "example_inputs": (images[:1],), "loader": images.split(4)}
    exec(usage, names)
    quantized = names["quantized"]
    assert isinstance(quantized, nn.Module)
    assert (tmp_path / "model.html").exists()
    reference = model(images)
    assert (quantized(images) - reference).abs().max() < 0.05 * reference.abs().max()


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
