"""Fixtures that run a test once for every instruction set of this machine, and for one and two threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fxquant.target import active_isa, supported_isas


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
