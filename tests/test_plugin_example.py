"""tests/plugin_example, installed as a user would, passes its own tests; a file with its op asks for it elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fxquant import load
from fxquant.errors import FileError

pytestmark = pytest.mark.slow
PACKAGE = Path(__file__).parent / "plugin_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed package, with its kernel compiled."""
    source, folder = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder, source], check=True)
    return folder


def python(installed: Path, *arguments: str) -> str:
    """What Python prints, with the package on its path. Raises CalledProcessError if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    run = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_its_own_tests_pass(installed: Path) -> None:
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider", f"--rootdir={PACKAGE}"]
    assert " passed" in python(installed, "-m", "pytest", *options, str(PACKAGE / "tests"))


def test_the_command_lists_its_passes(installed: Path) -> None:
    listed = python(installed, "-c", "from fxquant.cli import main; main()", "passes")
    for line in ("fold_maxout (plug-in)", "merge_linears (plug-in)", "SmallLayersInFloat (optional, plug-in)"):
        assert line in listed


SAVE = """
import sys, torch, fxquant
from torch import nn
from fxquant_example.fold_maxout import Maxout
model, x = nn.Sequential(nn.Conv2d(3, 8, 3), Maxout(2), nn.Conv2d(4, 6, 1)).eval(), torch.randn(2, 3, 8, 8)
prepared = fxquant.calibrate(fxquant.prepare_fx(model, fxquant.get_default_qconfig_mapping(), (x,)), [x])
fxquant.save(fxquant.convert_fx(prepared), sys.argv[1])
"""
LOAD = "import sys, torch, fxquant; print(tuple(fxquant.load(sys.argv[1])(torch.randn(2, 3, 8, 8)).shape))"


def test_a_file_with_its_op_needs_the_package_where_it_is_loaded(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    python(installed, "-c", SAVE, str(file))
    assert python(installed, "-c", LOAD, str(file)) == "(2, 6, 6, 6)\n"
    with pytest.raises(FileError, match=r"unknown class 'Int8Maxout'; if a plug-in brings it, install that"):
        load(file)
