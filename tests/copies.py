"""A converted model, as it arrives after each of its ways to somewhere else."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import fxquant


def copies_of(model: Any, folder: Path) -> tuple[Any, ...]:
    """Saved to `folder` and loaded, deepcopied, and pickled."""
    fxquant.save(model, folder / "model.fxq")
    return fxquant.load(folder / "model.fxq"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))
