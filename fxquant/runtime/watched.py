"""Whether something follows the torch ops that are called, so that they must be called one by one."""

from __future__ import annotations

from torch import Tensor
from torch._C import _len_torch_dispatch_stack as dispatch_modes
from torch.compiler import is_compiling
from torch.jit import is_tracing  # type: ignore[attr-defined]


def watched() -> bool:
    """True while torch.compile, torch.export, torch.jit.trace or a dispatch mode is at work."""
    return bool(is_compiling() or is_tracing() or dispatch_modes())


def plain(*tensors: Tensor | None) -> bool:
    """Whether a kernel may take `tensors` as they lie in memory, without torch's dispatcher."""
    return not watched() and all(t is None or (type(t) is Tensor and t.is_cpu and not t.is_neg()) for t in tensors)
