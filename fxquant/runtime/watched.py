"""Whether something follows the torch ops that are called, so that they must be called one by one."""

from __future__ import annotations

from torch._C import _len_torch_dispatch_stack as dispatch_modes
from torch.compiler import is_compiling
from torch.jit import is_tracing  # type: ignore[attr-defined]


def watched() -> bool:
    """True while torch.compile, torch.export, torch.jit.trace or a dispatch mode is at work."""
    return bool(is_compiling() or is_tracing() or dispatch_modes())
