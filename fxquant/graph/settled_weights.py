"""weight = f(originals), before every call  ->  weight        of weight_norm, spectral_norm and other parametrizations.

In eval mode nothing of it changes from call to call, so a module can be captured as what it is without them.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fxquant.errors import TraceError

_REMOVERS = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}


def computes_weights(model: nn.Module) -> bool:
    """Whether any module of `model` does."""
    return any(parametrize.is_parametrized(module) or _hooks(module) for module in model.modules())


def settled_copy(model: nn.Module) -> nn.Module:
    """A copy of `model`, with weights in place of what computes them. Raises TraceError if there is none."""
    held = [vars(module).get(hook.name) for module in model.modules() for hook in _hooks(module)]
    memo = {id(x): x.detach().clone() for x in held if isinstance(x, Tensor)}  # which torch refuses to copy
    try:
        root = copy.deepcopy(model, memo)
    except Exception as error:
        raise TraceError(f"the model cannot be copied, so it cannot be left untouched: {error}") from error
    settle_weights(root)
    return root


@torch.no_grad()
def settle_weights(root: nn.Module) -> None:
    """Computes the weights of all modules of `root`, and leaves nothing that does again."""
    for module in list(root.modules()):
        if parametrize.is_parametrized(module):
            _settle(module)
        for hook in _hooks(module):
            _REMOVERS[type(hook)](module, hook.name)


def _hooks(module: nn.Module) -> list[Any]:
    hooks: list[Any] = list(module._forward_pre_hooks.values())
    return [hook for hook in hooks if type(hook) in _REMOVERS]


def _settle(module: nn.Module) -> None:
    """torch's own remove_parametrizations changes the class, which the user's module shares."""
    parametrized = module._modules["parametrizations"]
    assert isinstance(parametrized, nn.ModuleDict)
    values = {name: getattr(module, name).clone() for name in parametrized}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module._modules["parametrizations"]
    for name, value in values.items():
        if list(parametrized[name].parameters(recurse=False)):
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)
