"""What the observers of a prepared model have learnt, apart from the model's parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import nn

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.base import ObserverBase


@typed
def get_observer_state_dict(mod: nn.Module) -> dict[str, Any]:
    """The entries of `mod.state_dict()` that belong to observers and fake-quantizes."""
    prefixes = tuple(_prefixes(mod))
    return OrderedDict((key, value) for key, value in mod.state_dict().items() if key.startswith(prefixes))


@typed
def load_observer_state_dict(mod: nn.Module, obs_dict: dict[str, Any]) -> None:
    """Gives the observers of `mod` what `get_observer_state_dict` read from one prepared in the same way.

    Raises ConfigError, before anything is changed, where the two have different observers.
    """
    expected = get_observer_state_dict(mod)
    missing = [key for key in expected if key not in obs_dict]
    unknown = [key for key in obs_dict if key not in expected]
    if missing or unknown:
        raise ConfigError(
            f"these are not the observers of the model: it lacks {unknown[:5]}, and {missing[:5]} are not given; "
            "prepare the model with the qconfig mapping of the one that was saved"
        )
    mod.load_state_dict(obs_dict, strict=False)


def _prefixes(mod: nn.Module) -> Iterator[str]:
    for name, module in mod.named_modules():
        if isinstance(module, ObserverBase):
            yield f"{name}." if name else ""
