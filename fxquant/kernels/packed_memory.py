"""Memory for packed weights, in huge pages where the system has them.

A call reads all weights of a network once, so the address translations of megabytes in 4 KB pages do not stay in the
TLB from one call to the next. Measured on ResNet-50, 25 MB of weights, in a virtual machine: 3 % of the time.
"""

from __future__ import annotations

import contextlib
import mmap
import threading

import torch
from torch import Tensor

_ALIGNMENT = 64
_HUGE_PAGE = 2 << 20
# Of address space: a page takes memory when it is first written to.
_MAPPING = 8 * _HUGE_PAGE


def packed_memory(size: int) -> Tensor:
    """Uint8 [size], not initialized, aligned to 64 bytes. A mapping is given back with the last tensor that lies in it.

    size: at least 1.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    return _mappings.take(size)


class _Mappings:
    """Hands out memory of the newest mapping, one piece behind the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: mmap.mmap | None = None
        self._begin = self._end = 0

    def take(self, size: int) -> Tensor:
        with self._lock:
            if self._newest is None or self._begin + size > self._end:
                self._map(max(size, _MAPPING))
            assert self._newest is not None
            # Not a view of one tensor: whoever saves a tensor saves all memory that it is a view of.
            memory = torch.frombuffer(self._newest, dtype=torch.uint8, count=size, offset=self._begin)
            self._begin += -(-size // _ALIGNMENT) * _ALIGNMENT
        return memory

    def _map(self, size: int) -> None:
        """A mapping of a whole number of huge pages, and one more for their alignment."""
        pages = -(-size // _HUGE_PAGE) * _HUGE_PAGE
        mapping = mmap.mmap(-1, pages + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a system without huge pages has others
            mapping.madvise(mmap.MADV_HUGEPAGE)
        address = torch.frombuffer(mapping, dtype=torch.uint8, count=1).data_ptr()
        self._newest, self._begin = mapping, -address % _HUGE_PAGE
        self._end = self._begin + pages


_mappings = _Mappings()
