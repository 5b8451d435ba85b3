"""The packages that hold the demo's weights and images: found by name, read as files, never imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from fxquant.errors import MissingError


def demo_packages() -> list[str]:
    """The pip requirements of packages.txt."""
    lines = Path(__file__).with_name("packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def install_command() -> str:
    """The shell line that installs everything the demo reads."""
    return "pip install --no-deps " + " ".join(f"'{requirement}'" for requirement in demo_packages())


def missing_packages() -> list[str]:
    """Those of `demo_packages` that are not installed, in any version."""
    return [requirement for requirement in demo_packages() if not _installed(requirement)]


def package_files(package: str, pattern: str) -> list[Path]:
    """The files of an installed import package that match a glob, sorted by name.

    Raises MissingError, naming the command to run, if the package or such a file is not there.
    """
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    files = sorted(file for place in places for file in Path(place).glob(pattern))
    if not files:
        raise MissingError(f"{package}/{pattern} is not installed; run: {install_command()}")
    return files


def _installed(requirement: str) -> bool:
    name = requirement.replace(">", "=").split("=", 1)[0]
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
