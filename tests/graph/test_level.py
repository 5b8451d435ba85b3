from __future__ import annotations

import pytest
from typer.testing import CliRunner

import fxquant
from fxquant.cli import app
from fxquant.errors import ConfigError
from fxquant.graph.level import debug_level
from fxquant.graph.registry import STAGES


def test_a_block_has_its_own_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_DEBUG", "1")
    with fxquant.debug(2):
        assert debug_level() == 2
        with fxquant.debug(0):
            assert debug_level() == 0
        assert debug_level() == 2
    assert debug_level() == 1


def test_an_error_within_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXQUANT_DEBUG", raising=False)
    with pytest.raises(ZeroDivisionError), fxquant.debug(3):
        raise ZeroDivisionError
    assert debug_level() == 0


@pytest.mark.parametrize("level", [-1, 5, True, "2", None])
def test_a_level_that_is_none(level: int) -> None:
    with pytest.raises(ConfigError, match="number from 0 to 4"), fxquant.debug(level):
        pass


def test_the_command_lists_stages_sources_and_marks(own_passes: None) -> None:
    def mine(gm: object) -> object:
        """Does nothing at all."""
        return gm

    fxquant.register_pass("fold", after="fold_conv", optional=True)(mine)
    lines = CliRunner().invoke(app, ["passes"]).output.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(STAGES)
    [at] = [i for i, line in enumerate(lines) if line.startswith("  mine (optional, plug-in) ")]
    assert lines[at].endswith(" Does nothing at all.")
    assert "tests/graph/test_level.py:" in lines[at + 1]
    assert "fold_conv" in lines[at - 2]
