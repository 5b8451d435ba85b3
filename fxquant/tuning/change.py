"""The frame of a correction: a prepared model is checked, changed in float, and what is left as it is has a reason."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxquant.calibrate import in_eval
from fxquant.errors import CalibrationError, ConfigError, ConfigWarning
from fxquant.graph.kept import meta_of
from fxquant.graph.level import note_refusal
from fxquant.graph.parts import is_part
from fxquant.observer import ObserverBase


@contextmanager
def changing(prepared: nn.Module, who: str, *, calibrated: bool = False) -> Iterator[GraphModule]:
    """The graph of `prepared`, to be changed within, without gradients and in eval mode, by the function called `who`.

    `calibrated`: the observers must have seen data, and keep it; else they forget it at the end, since ranges change.
    Raises ConfigError if `prepared` is not what prepare_fx returned of a model that was captured as one graph, and
    CalibrationError if an observer saw no data that should have.
    """
    if "qconfig_mapping" not in meta_of(prepared) or not is_part(prepared):
        raise ConfigError(f"{who} takes what prepare_fx returned, of a model that was captured as one graph")
    blind = [observer.place for observer in _observers(prepared) if not observer.is_dynamic and not observer.observed]
    if calibrated and blind:
        raise CalibrationError(f"{blind[0]} saw no data; run fxquant.calibrate(prepared, batches) first")
    with torch.no_grad(), in_eval(prepared):
        yield prepared
    prepared.recompile()
    if not calibrated:
        for observer in _observers(prepared):
            observer.reset_min_max_vals()


def _observers(prepared: nn.Module) -> list[ObserverBase]:
    return [module for module in prepared.modules() if isinstance(module, ObserverBase)]


def allowed(limits: Mapping[Node, str | None], who: str, what: str) -> Iterator[Node]:
    """The nodes that have no reason against them; that of each other one is kept and printed as a rule's refusal is.

    `what`: what `who` could not do, for the ConfigWarning if there is a reason against each.
    """
    for node, limit in limits.items():
        if limit is None:
            yield node
        else:
            note_refusal(who, node, limit)
    if all(limits.values()):
        why = f": {next(iter(limits.values()))}" if limits else ", as it has none"
        warnings.warn(f"{who} could not {what} of the model{why}", ConfigWarning, stacklevel=4)
