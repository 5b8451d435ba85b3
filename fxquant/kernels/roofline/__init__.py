"""The limits of this machine, measured now: multiply-adds a second, and bytes a second."""

from __future__ import annotations

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.target import active_isa


def peak_multiply_adds(threads: int) -> float:
    """int8 multiply-adds a second that `threads` cores reach with the active ISA, from registers alone."""
    return float(_kernels.peak_multiply_adds(active_isa(), _at_least_1(threads, "threads")))


def copy_bandwidth(size: int, threads: int) -> float:
    """Bytes a second, read and written, of a copy whose two buffers have `size` bytes together; at least 2."""
    return float(_kernels.copy_bandwidth(_at_least_1(size // 2, "half the size") * 2, _at_least_1(threads, "threads")))


def _at_least_1(value: int, name: str) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be at least 1")
    return value
