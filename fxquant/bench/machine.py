"""The machine that figures were measured on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass

from fxquant.doctor import cpu_name
from fxquant.kernels.roofline import copy_bandwidth, peak_multiply_adds
from fxquant.target import ISA_NAMES, active_isa

PACKAGES = ("fxquant", "torch", "onnxruntime", "onnx", "onnxscript", "openvino", "nncf", "pytorchcv")
MEMORY_BYTES = 1 << 28


@dataclass(frozen=True)
class Machine:
    """CPU, cores usable, ISA, versions; and what so many threads reach: multiply-adds and bytes of memory a second."""

    cpu: str
    cores: int
    isa: str
    threads: int
    peak_multiply_adds: float
    memory_bandwidth: float
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        peak, bandwidth = self.peak_multiply_adds * 1e-9, self.memory_bandwidth * 1e-9
        return (
            f"{self.cpu}, {self.cores} cores, {self.isa}; in {self.threads} thread{'s' * (self.threads > 1)} "
            f"{peak:.0f} G multiply-adds/s of int8 and a copy of {bandwidth:.1f} GB/s\n"
            f"{versions}"
        )


def describe_machine(threads: int) -> Machine:
    """Measures and looks up all of it, in about half a second."""
    return Machine(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        isa=ISA_NAMES[active_isa()],
        threads=threads,
        peak_multiply_adds=peak_multiply_adds(threads),
        memory_bandwidth=copy_bandwidth(MEMORY_BYTES, threads),
        versions={"Python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
