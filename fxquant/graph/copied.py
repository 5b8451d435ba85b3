"""Copies of a model, and weights that stand for what computes them.

weight_norm, spectral_norm and torch.nn.utils.parametrize compute a weight from other parameters before each call. A
model that is not trained any more computes the same one each time.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fxquant.errors import TraceError

_REMOVED_BY = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}


def copied(model: nn.Module) -> nn.Module:
    """A deep copy. Raises TraceError for a model of which there is none."""
    try:
        # torch refuses to copy what autograd computed, such as the weight that a hook of weight_norm leaves behind.
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in _computed(model)})
    except Exception as error:
        raise TraceError(f"the model cannot be copied, so it cannot be left untouched: {error}") from error


def _computed(model: nn.Module) -> list[Tensor]:
    values = [value for module in model.modules() for value in vars(module).values()]
    return [value for value in values if isinstance(value, Tensor) and not value.is_leaf]


def with_plain_weights(model: nn.Module) -> nn.Module:
    """`model`, or, if some of its weights are computed at every call, a copy in which these are parameters."""
    if not any(parametrize.is_parametrized(module) or _hooks(module) for module in model.modules()):
        return model
    made = copied(model)
    for module in made.modules():
        if parametrize.is_parametrized(module):
            _remove_parametrizations(module)
        for hook in _hooks(module):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                _REMOVED_BY[type(hook)](module, hook.name)
    return made


def _remove_parametrizations(module: nn.Module) -> None:
    """torch's own function takes the weight's property from the class, which the model that was copied has too."""
    values = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value, requires_grad=value.is_floating_point()))


def _hooks(module: nn.Module) -> list[WeightNorm | SpectralNorm]:
    hooks: list[Any] = list(module._forward_pre_hooks.values())
    return [hook for hook in hooks if isinstance(hook, (WeightNorm, SpectralNorm))]
