"""What this machine can run, and which instruction set fxquant uses on it."""

from __future__ import annotations

import functools
import os

from fxquant import _kernels
from fxquant.errors import UnsupportedError

ISA_NAMES: tuple[str, ...] = tuple(_kernels.isa_name(i) for i in range(_kernels.isa_count))


def supported_isas() -> list[str]:
    """The ISAs that this CPU and its OS can run, worst first."""
    return [name for i, name in enumerate(ISA_NAMES) if _kernels.isa_supported(i)]


@functools.cache
def active_isa() -> int:
    """The ISA whose kernels run: the best supported one, or the one that FXQUANT_ISA names.

    Raises UnsupportedError if FXQUANT_ISA names no ISA, or one that this CPU cannot run.
    """
    wanted = os.environ.get("FXQUANT_ISA")
    if not wanted:
        return int(_kernels.best_isa())
    if wanted not in ISA_NAMES:
        raise UnsupportedError(f"FXQUANT_ISA={wanted!r} is no instruction set; choose one of {', '.join(ISA_NAMES)}")
    if wanted not in supported_isas():
        raise UnsupportedError(
            f"FXQUANT_ISA={wanted!r} cannot run on this CPU, which has {', '.join(supported_isas())}; "
            "choose one of these or unset FXQUANT_ISA"
        )
    return ISA_NAMES.index(wanted)
