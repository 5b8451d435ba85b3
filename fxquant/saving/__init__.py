"""Models as files: see container.py for what a file is, and document.py for what it says."""

from fxquant.saving.load import load
from fxquant.saving.save import save

__all__ = ["load", "save"]
