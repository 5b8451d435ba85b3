"""Calibration: every observer of a prepared model sees every batch, in eval mode and without gradients."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from fxquant.arguments import typed
from fxquant.errors import CalibrationError, CalibrationWarning, ConfigError, InputError
from fxquant.observer import ObserverBase
from fxquant.observer.merge import merged_statistics, modules_of, total

Prepared = TypeVar("Prepared", bound=nn.Module)


@typed
def calibrate(
    prepared: Prepared, data: Iterable[Any], *, progress: bool = True, max_batches: int | None = None
) -> Prepared:
    """Runs `prepared` on the batches of `data`, at most `max_batches`, and returns it, in the mode it was in.

    A batch is a tensor, a tuple or list of positional arguments, or a dict of keyword arguments. A tuple that is longer
    than the model has arguments, as a DataLoader of labelled data gives, is cut to the first of them.
    `progress` shows a bar, if stderr is a terminal.

    Where torch.distributed is initialized, as under torchrun, each process brings a part of the data, and afterwards
    all have the statistics of all of it: those of one process that had seen everything (a moving average, which depends
    on the order, is the mean over the processes).

    Raises CalibrationError if there are no batches, or one has no elements, or the model meets NaN or infinity;
    InputError, with the number of the batch, if the model does not take it. Warns if nothing observes.
    """
    if max_batches is not None and max_batches < 1:
        raise ConfigError(f"max_batches must be at least 1, got {max_batches}")
    check_data(data)
    observers = modules_of(prepared, ObserverBase)
    if not observers:
        warnings.warn("the model has no observers; calibrate what prepare_fx returns", CalibrationWarning, stacklevel=2)
    signature = inspect.signature(prepared.forward)
    count = 0
    with merged_statistics(observers), in_eval(prepared), torch.no_grad():
        for count, batch in enumerate(_tracked(data, progress, max_batches), start=1):
            _run(prepared, signature, batch, f"batch {count - 1}")
    if int(total(torch.tensor(count))) == 0:
        raise CalibrationError("data holds no batches, so nothing was observed; an iterator may be used up already")
    return prepared


def check_data(data: Any) -> None:
    """Raises InputError for what is no iterable of batches, such as a batch."""
    several = hasattr(type(data), "__iter__") or hasattr(type(data), "__getitem__")
    if isinstance(data, (Tensor, Mapping, str)) or not several:
        raise InputError(
            f"data must be an iterable of batches, not one {type(data).__name__}; for one batch pass [batch]"
        )


def _run(prepared: nn.Module, signature: inspect.Signature, batch: Any, name: str) -> None:
    args, kwargs = bound_batch(signature, batch, name)
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and not value.is_nested and value.numel() == 0:
            raise CalibrationError(f"{name} holds a tensor without elements, of shape {list(value.shape)}")
    try:
        prepared(*args, **kwargs)
    except (CalibrationError, InputError) as error:
        raise type(error)(f"{name}: {error}") from error
    except Exception as error:
        given = ", ".join(map(_described, (*args, *kwargs.values())))
        raise InputError(f"{name}, {given}, does not run through the model: {error}") from error


def in_order(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments of a call, defaults included, in the order of the parameters: that of a graph's placeholders."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return list(bound.arguments.values())


def bound_batch(signature: inspect.Signature, batch: Any, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments that `batch` gives; InputError, with its `name`, if they do not fit."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(batch, Tensor):
        args = (batch,)
    elif isinstance(batch, (tuple, list)):
        args = tuple(batch)[: _positional(signature)]
    elif isinstance(batch, Mapping):  # also what a tokenizer of transformers returns
        kwargs = dict(batch)
    else:
        raise InputError(
            f"{name} is a {_described(batch)}; expected a tensor, a tuple of arguments or a dict of keyword arguments"
        )
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"{name} does not fit the model's forward{signature}: {error}") from error
    return args, kwargs


def _positional(signature: inspect.Signature) -> int | None:
    """How many positional arguments there may be; None if any number."""
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _described(value: Any) -> str:
    if isinstance(value, Tensor) and value.is_nested:
        return "nested tensor"
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor of shape {list(value.shape)}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _tracked(data: Iterable[Any], progress: bool, max_batches: int | None) -> Iterable[Any]:
    batches = islice(data, max_batches)
    if not (progress and sys.stderr.isatty()):
        return batches
    return track(batches, "calibrating", total=_length(data, max_batches), console=Console(stderr=True))


def _length(data: Any, max_batches: int | None) -> int | None:
    try:
        total = len(data)
    except TypeError:
        return max_batches
    return total if max_batches is None else min(total, max_batches)


@contextmanager
def in_eval(model: nn.Module) -> Iterator[None]:
    """Eval mode within, and afterwards every submodule in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
