"""Passes of installed packages: what the entry-point group `fxquant.passes` names is imported, and so registers them.

[project.entry-points."fxquant.passes"]
my_plugin = "my_plugin"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from threading import RLock

from fxquant.errors import ConfigError

GROUP = "fxquant.passes"

_LOADING = RLock()
_loaded = False


def load_plugins() -> None:
    """Imports every plug-in, once. Raises ConfigError, naming the package, for one that does not import."""
    global _loaded
    if _loaded:
        return
    with _LOADING:
        if _loaded:  # by another thread, or a plug-in compiles a model while it is imported
            return
        _loaded = True
        try:
            for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
                _load(point)
        except BaseException:
            _loaded = False
            raise


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:  # the code of others may raise whatever it likes
        package = f"the package {point.dist.name} {point.dist.version}" if point.dist else "an installed package"
        raise ConfigError(
            f"{package} brings passes, {point.name} = {point.value!r} in the group {GROUP!r}, but does not import: "
            f"{type(error).__name__}: {error}; repair, update or uninstall it"
        ) from error
