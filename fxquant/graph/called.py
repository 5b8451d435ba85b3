"""What a node calls, on values in place of nodes."""

from __future__ import annotations

from typing import Any

from torch.fx import Node


def is_called(node: Node) -> bool:
    """Whether `node` calls a function or a method: what it gives is decided by its arguments."""
    return node.op in ("call_function", "call_method")


def called(node: Node, args: Any, kwargs: Any) -> Any:
    """What the function or method that `node` calls gives for these arguments. Raises what that raises."""
    target: Any = node.target
    if node.op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    return target(*args, **kwargs)
