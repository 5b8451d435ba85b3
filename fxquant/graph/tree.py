"""The tree of modules, parameters and buffers under a root, by dotted paths."""

from __future__ import annotations

from typing import Any

from torch import nn


def value_at(root: nn.Module, path: str) -> Any:
    """The module, tensor or other attribute at `path`, or None if there is none."""
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def owner_at(root: nn.Module, path: str) -> nn.Module:
    """The module at `path`, "" for the root; where there is none, empty ones are made."""
    owner = root
    for name in filter(None, path.split(".")):
        child = owner._modules.get(name)
        if child is None:
            child = nn.Module()
            owner.add_module(name, child)
        owner = child
    return owner


def free_path(root: nn.Module, path: str) -> str:
    """`path`, or the first of path_1, path_2 … at which there is nothing."""
    candidate, count = path, 0
    while value_at(root, candidate) is not None:
        count += 1
        candidate = f"{path}_{count}"
    return candidate


def drop_unused(module: nn.Module, path: str, used: set[str]) -> bool:
    """Deletes from `module`, at `path`, what none of the paths in `used` needs. Returns whether anything is left."""
    if path in used:
        return True
    for name in [*module._parameters, *module._buffers]:
        if _join(path, name) not in used:
            delattr(module, name)
    for name, child in list(module._modules.items()):
        if child is None or not drop_unused(child, _join(path, name), used):
            delattr(module, name)
    return bool(module._parameters or module._buffers or module._modules)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
