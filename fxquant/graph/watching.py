"""A prepared graph seen without the observers that watch its values: who computes a value, and who reads it.

What `meta` marks as STATISTIC is a call that nothing reads, of a module that learns something of its arguments.
"""

from __future__ import annotations

from torch.fx import Node

STATISTIC = "statistic"


def is_statistic(node: Node) -> bool:
    """Whether `node` is there only for what its module learns."""
    return STATISTIC in node.meta


def is_watcher(node: Node) -> bool:
    """Whether `node` calls the observer of the value that it reads, which it hands on."""
    watched = node.args[0] if node.op == "call_module" and node.args else None
    return isinstance(watched, Node) and watched.meta.get("observer") == node.target


def value_of(node: Node) -> Node:
    """The node that computes what `node` gives: the watched one for an observer's call, else `node` itself."""
    return node.args[0] if is_watcher(node) else node  # type: ignore[return-value]


def readers_of(node: Node) -> list[Node]:
    """What reads the value of `node`, be it behind its observer."""
    readers = [reader for user in node.users for reader in (user.users if is_watcher(user) else (user,))]
    return [reader for reader in readers if not is_statistic(reader)]
