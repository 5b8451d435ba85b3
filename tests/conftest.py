"""Fixtures of all tests: goldens, instruction sets, numbers of threads.

A golden is a readable text file, compared and, with --update-golden, rewritten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Tests run in as many processes as there are cores: threads of their own would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from fxquant.graph.registry import PASSES, registered
from fxquant.ops.op import OPS, SPELLINGS
from fxquant.runtime.brought import KERNELS
from fxquant.runtime.layer import LAYERS
from fxquant.target import active_isa, supported_isas

collect_ignore = ["plugin_example"]  # which test_plugin_example.py installs and runs
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from what the code does now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text) asserts that tests/golden/name holds exactly `text`."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.exists(), f"{path} is missing; run pytest --update-golden"
        assert text == path.read_text()

    return check


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same random state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def own_passes() -> Iterator[None]:
    """The passes, ops and kernels that the test registers are gone after it."""
    registered()
    tables: list[dict[Any, Any]] = [PASSES, OPS, SPELLINGS, LAYERS, KERNELS]
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


@pytest.fixture(params=supported_isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the instruction set whose kernels run in the test."""
    monkeypatch.setenv("FXQUANT_ISA", request.param)
    active_isa.cache_clear()
    yield request.param
    active_isa.cache_clear()


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads that kernels may use in the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
