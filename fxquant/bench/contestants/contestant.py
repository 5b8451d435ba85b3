"""What a contestant is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from fxquant.bench.case import Case
from fxquant.errors import MissingError


@dataclass(frozen=True)
class Contestant:
    """One way to run a model.

    `prepare` turns the case into a call without arguments that computes the outputs for the case's inputs. `settings`
    says in a sentence how it is set up. `peer` is its name in --peers; "" takes part always. `packages`: the modules
    that it imports.
    """

    name: str
    settings: str
    prepare: Callable[[Case], Callable[[], object]]
    peer: str = ""
    packages: tuple[str, ...] = ()

    def check_installed(self) -> None:
        """Raises MissingError if a package is not there."""
        missing = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if missing:
            raise MissingError(f"{', '.join(missing)} not installed; run: pip install 'fxquant[peers]'")
