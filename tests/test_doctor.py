"""The `fxquant` command and what its doctor finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fxquant import cli, doctor, target
from fxquant.demo import packages
from fxquant.errors import ConfigError


@pytest.fixture(autouse=True)
def _forget_isa() -> Iterator[None]:
    target.active_isa.cache_clear()
    yield
    target.active_isa.cache_clear()


def test_report_has_a_line_for_every_check() -> None:
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0
    for subject in ("CPU", "ISA", "threads", "OpenMP", "torch", "Graphviz", "demo packages"):
        assert re.search(rf"│ {subject} ", result.output)


def test_chosen_isa_comes_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXQUANT_ISA", raising=False)
    assert doctor.check_isa().value.startswith(f"{target.supported_isas()[-1]}: the best of these")
    monkeypatch.setenv("FXQUANT_ISA", "scalar")
    target.active_isa.cache_clear()
    assert doctor.check_isa().value.startswith("scalar: FXQUANT_ISA asks for it")


def test_a_wrong_isa_is_broken_and_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_ISA", "mmx")
    finding = doctor.check_isa()
    assert finding.state == doctor.BROKEN
    assert "'mmx' is no instruction set; choose one of scalar, avx2" in finding.remedy
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "ISA: FXQUANT_ISA='mmx'" in result.output


def test_what_is_missing_is_optional_and_its_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_packages", packages.demo_packages)
    monkeypatch.setenv("PATH", "")
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0
    assert f"demo packages: {packages.install_command()}\n" in result.output
    assert "Graphviz: Debian and Ubuntu: apt-get install graphviz" in result.output


def test_threads_are_torchs() -> None:
    assert doctor.check_threads().value.startswith(f"{torch.get_num_threads()} ")


def test_runtimes_are_counted_once_each() -> None:
    maps = """\
7f00-7f01 r-xp 00000000 08:01 11 /usr/lib/libgomp.so.1.0.0
7f01-7f02 r--p 00001000 08:01 11 /usr/lib/libgomp.so.1.0.0
7f02-7f03 rw-p 00000000 00:00 0
7f03-7f04 r-xp 00000000 08:01 12 /opt/with space/libiomp5.so
7f04-7f05 r-xp 00000000 08:01 13 /usr/lib/libgompertz/libc.so.6
7ffc-7ffd rw-p 00000000 00:00 0 [stack]
"""
    assert doctor.openmp_runtimes(maps) == ["/opt/with space/libiomp5.so", "/usr/lib/libgomp.so.1.0.0"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_torch_and_the_kernels_share_one_pool() -> None:
    finding = doctor.check_openmp()
    assert finding.state == doctor.OK
    assert finding.value.startswith("one pool: ")


def test_an_error_of_ours_is_shown_as_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ConfigError("no network is called 'alexnet'")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit, match=r"^ConfigError: no network is called 'alexnet'$"):
        cli.main()
