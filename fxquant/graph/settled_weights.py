"""weight = f(originals), before every call  ->  weight        of weight_norm, spectral_norm and other parametrizations.

In eval mode nothing of it changes from call to call, so a module can be captured as what it is without them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_REMOVERS = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}


@torch.no_grad()
def settle_weights(root: nn.Module) -> None:
    """Computes the weights of all modules of `root`, a copy of the user's model, and leaves nothing that does again."""
    for module in list(root.modules()):
        if parametrize.is_parametrized(module):
            _settle(module)
        hooks: list[Any] = list(module._forward_pre_hooks.values())
        for hook in hooks:
            if type(hook) in _REMOVERS:
                _REMOVERS[type(hook)](module, hook.name)


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


def computed_weights(model: nn.Module) -> dict[int, Tensor]:
    """Copies of the tensors that such modules hold and torch refuses to copy, by id: a memo for deepcopy."""
    held = (value for module in model.modules() for value in vars(module).values())
    return {id(x): x.detach().clone() for x in held if isinstance(x, Tensor) and not x.is_leaf}
