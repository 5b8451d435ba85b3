"""`fxquant doctor`: what this machine has, what is chosen, what is missing and the command that gets it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fxquant.demo.packages import install_command, missing_packages
from fxquant.drawing.dot import GET_DOT
from fxquant.errors import FxquantError
from fxquant.target import ISA_NAMES, active_isa, supported_isas

OK, MISSING, BROKEN = "ok", "missing", "broken"
COLORS = {OK: "green", MISSING: "yellow", BROKEN: "red"}


@dataclass(frozen=True)
class Finding:
    """One line of the report. MISSING is optional, BROKEN is not; `remedy` is then the command or the step to take."""

    subject: str
    value: str
    state: str = OK
    remedy: str = ""


def doctor() -> None:
    """Show CPU, instruction sets, threads, torch and what is missing. Exits with 1 if something required is broken."""
    report = [check() for check in CHECKS]
    table = Table(title="fxquant doctor")
    for heading in ("", "found", "state"):
        table.add_column(heading, overflow="fold")
    for finding in report:
        table.add_row(finding.subject, escape(finding.value), f"[{COLORS[finding.state]}]{finding.state}[/]")
    console = Console()
    console.print(table)
    for finding in report:
        if finding.remedy:
            console.print(f"{finding.subject}: {finding.remedy}", soft_wrap=True, markup=False, highlight=False)
    if any(finding.state == BROKEN for finding in report):
        raise typer.Exit(1)


def check_cpu() -> Finding:
    """The CPU's own name, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("CPU", f"{cpu_name()}, {cores} cores usable")


def check_isa() -> Finding:
    """The instruction set whose kernels run, and why it is this one."""
    others = f"this CPU runs {', '.join(supported_isas())}"
    wanted = os.environ.get("FXQUANT_ISA")
    try:
        chosen = ISA_NAMES[active_isa()]
    except FxquantError as error:
        return Finding("ISA", others, BROKEN, str(error))
    reason = "FXQUANT_ISA asks for it" if wanted else "the best of these"
    return Finding("ISA", f"{chosen}: {reason}; {others}")


def check_threads() -> Finding:
    """How many threads torch, and so our kernels, use."""
    return Finding("threads", f"{torch.get_num_threads()} (torch.set_num_threads rules torch and fxquant)")


def check_openmp() -> Finding:
    """Whether torch and our kernels share one OpenMP runtime, that is one pool of threads."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return Finding("OpenMP", "unknown: this system has no /proc")
    runtimes = openmp_runtimes(maps.read_text())
    if len(runtimes) == 1:
        return Finding("OpenMP", f"one pool: {runtimes[0]}")
    if not runtimes:
        return Finding("OpenMP", "no runtime is loaded", BROKEN, "reinstall torch and fxquant in a new environment")
    remedy = "two pools compete for the cores; set OMP_NUM_THREADS=1 or install torch and fxquant from pip alone"
    return Finding("OpenMP", f"{len(runtimes)} pools: {', '.join(runtimes)}", MISSING, remedy)


def openmp_runtimes(maps: str) -> list[str]:
    """The paths of the OpenMP runtimes in the text of /proc/<pid>/maps."""
    paths = {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.count("/") > 0}
    return sorted(path for path in paths if Path(path).name.startswith(("libgomp", "libiomp5", "libomp")))


def check_torch() -> Finding:
    """The versions of torch and Python."""
    value = f"{torch.__version__}, Python {platform.python_version()}"
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 9):
        return Finding("torch", value, BROKEN, "pip install 'torch>=2.9'")
    return Finding("torch", value)


def check_dot() -> Finding:
    """Graphviz's program, for pictures: .svg, .png and .pdf. Pages need none."""
    path = shutil.which("dot")
    return Finding("Graphviz", path) if path else Finding("Graphviz", "no program `dot`", MISSING, GET_DOT)


def check_demo() -> Finding:
    """The weights and images of `fxquant demo`."""
    missing = missing_packages()
    if missing:
        return Finding("demo packages", f"without {', '.join(missing)}", MISSING, install_command())
    return Finding("demo packages", "all installed")


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_cpu,
    check_isa,
    check_threads,
    check_openmp,
    check_torch,
    check_dot,
    check_demo,
)


def cpu_name() -> str:
    """The CPU as its maker calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
