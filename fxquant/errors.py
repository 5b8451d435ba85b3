"""Every error a user can meet. Each says what was wrong, where in the user's model, and what to do."""

from __future__ import annotations


class FxquantError(Exception):
    """Base of all errors that fxquant raises on purpose."""


class TraceError(FxquantError):
    """The model's code could not be captured as a graph. `path`: the module that it is the code of, where known."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ConfigError(FxquantError, ValueError):
    """A qconfig, a mapping or an argument of the API does not make sense."""


class InputError(FxquantError, ValueError):
    """A tensor handed to a prepared or quantized model is not one it can take."""


class CalibrationError(FxquantError, ValueError):
    """Calibration met data that it cannot learn from: no batches, empty batches, NaN or infinity."""


class VerifyError(FxquantError):
    """A graph breaks a rule of its stage."""


class PassError(VerifyError):
    """The pass `name` failed, or broke a rule at `node` ("" if at none): `reason`. The message has the diff, too."""

    def __init__(self, name: str, node: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.name, self.node, self.reason = name, node, reason

    def __reduce__(self) -> tuple[type[PassError], tuple[str, str, str, str]]:
        return PassError, (self.name, self.node, self.reason, str(self))


class UnsupportedError(FxquantError):
    """This machine, an explicit choice such as FXQUANT_ISA, or a file format cannot do what was asked for."""


class TargetError(FxquantError):
    """No choice within what was allowed reaches the accuracy that was asked for; the message names the best one."""


class MissingError(FxquantError):
    """Something that was asked for needs a package or a program; the message holds the command that installs it."""


class FileError(FxquantError, ValueError):
    """A file is not a model that fxquant.save wrote, is damaged, or holds what this fxquant does not know."""


class PathError(FxquantError, OSError):
    """A file that was named cannot be read or written."""


class CalibrationWarning(UserWarning):
    """Converted without statistics somewhere; the message names the places."""


class ConfigWarning(UserWarning):
    """A setting that was given has no effect; the message says which, and what does instead."""
