"""Statistics of several processes as one, by all-reduce: each process calibrates on a part of the data.

Under torchrun, or wherever torch.distributed is initialized. Alone, every function here returns what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from fxquant.errors import CalibrationError


def processes() -> int:
    """How many processes calibrate together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def total(x: Tensor) -> Tensor:
    """The sum over all processes; `x` is of the same shape in all."""
    return _reduced(x, "SUM")


def minimum(x: Tensor) -> Tensor:
    """The least of all processes, element by element."""
    return _reduced(x, "MIN")


def maximum(x: Tensor) -> Tensor:
    """The greatest of all processes, element by element."""
    return _reduced(x, "MAX")


def _reduced(x: Tensor, how: str) -> Tensor:
    result = x.clone()
    if processes() > 1:
        distributed.all_reduce(result, getattr(distributed.ReduceOp, how))
    return result


@contextmanager
def merged_statistics(observers: list[Any]) -> Iterator[None]:
    """After the body, every process has the statistics of all.

    Raises CalibrationError in the other processes if the body raises in one: none waits for it.
    """
    if processes() == 1:
        yield
        return
    for observer in observers:
        if observer.is_merged and distributed.get_rank() > 0:
            observer.reset_min_max_vals()  # the first process has what all had together
    try:
        yield
    except Exception:
        total(torch.ones(()))
        raise
    if float(total(torch.zeros(()))) > 0:
        raise CalibrationError("calibration failed in another process; see its error")
    for observer in observers:
        observer.merge_processes()
        observer.is_merged = True


def mean_of_observed(x: Tensor, observed: bool) -> Tensor:
    """The mean over the processes that observed something; `x` is of the same shape in all."""
    count = total(torch.tensor(float(observed)))
    return total(x if observed else torch.zeros_like(x)) / count


def same_shape(x: Tensor) -> Tensor:
    """`x`, or, where only other processes have seen how many channels there are, as many elements of its only value."""
    size = int(maximum(torch.tensor(x.numel())))
    return x if x.numel() == size else x.reshape(-1)[:1].expand(size).clone()


def modules_of(model: nn.Module, kind: type[nn.Module]) -> list[Any]:
    """All modules of a kind, in the same order in every process."""
    return [module for module in model.modules() if isinstance(module, kind)]
