"""Which instruction set runs, and what happens to a wish that cannot be met."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fxquant import target
from fxquant.errors import UnsupportedError


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    target.active_isa.cache_clear()
    yield
    target.active_isa.cache_clear()


def test_without_a_wish_the_best_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXQUANT_ISA", raising=False)
    assert target.ISA_NAMES[target.active_isa()] == target.supported_isas()[-1]


def test_names_and_numbers_are_the_same_on_every_machine() -> None:
    """Packed weights hold the number, and loading them elsewhere names what they were packed for."""
    assert target.ISA_NAMES == ("scalar", "avx2", "avxvnni", "avx512vnni", "neon-dotprod", "neon-i8mm")


def test_every_supported_one_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in target.supported_isas():
        monkeypatch.setenv("FXQUANT_ISA", name)
        target.active_isa.cache_clear()
        assert target.ISA_NAMES[target.active_isa()] == name


def test_one_that_the_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_ISA", "avx512vnni")
    monkeypatch.setattr(target, "supported_isas", lambda: ["scalar", "avx2"])
    with pytest.raises(UnsupportedError, match=r"'avx512vnni' cannot run on this CPU, which has scalar, avx2"):
        target.active_isa()


@pytest.mark.parametrize("isa", ["avx1024", "AVX2", "neon"])
def test_an_unknown_one_is_refused_with_the_names_there_are(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_ISA", isa)
    with pytest.raises(UnsupportedError, match=f"{isa!r} is no instruction set; choose one of scalar, avx2"):
        target.active_isa()
