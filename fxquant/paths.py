"""Files that users name: whatever the system, or Python, says against such a path ends in one error that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fxquant.errors import FxquantError, PathError


@contextmanager
def reaching(path: str | os.PathLike[str], purpose: str) -> Iterator[Path]:
    """Gives `path` as a Path, for what is done with that file alone.

    Raises PathError, "cannot {purpose} {path}: …", for what the system refuses, and for text that is no path: one that
    holds a null byte, or that the file system's encoding does not have. Errors of ours pass.
    """
    try:
        yield Path(path)
    except FxquantError:
        raise
    except (OSError, ValueError, TypeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise PathError(f"cannot {purpose} {os.fspath(path)!r}: {reason}") from error
