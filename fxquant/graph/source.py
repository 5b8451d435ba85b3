"""Which line of the user's code is at work: the innermost frame outside torch and the compiler."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

import torch

_GRAPH = os.path.dirname(os.path.abspath(__file__))
_NOT_THE_USERS = tuple(
    os.path.join(folder, "")
    for folder in (os.path.dirname(torch.__file__), _GRAPH, os.path.join(os.path.dirname(_GRAPH), "ops"))
)


class Line(NamedTuple):
    """A line that ran."""

    file: str
    number: int
    function: str

    @property
    def place(self) -> str:
        """Short form, such as model.py:12."""
        return f"{os.path.basename(self.file)}:{self.number}"

    @property
    def text(self) -> str:
        """The source text, "" where it is not on disk."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f'  File "{self.file}", line {self.number}, in {self.function}\n    {self.text}'.rstrip()


def running_line(frame: FrameType | None, outermost: CodeType) -> Line | None:
    """The user's line in `frame` or its callers, up to the function whose code is `outermost`."""
    while frame is not None and frame.f_code is not outermost:
        if _is_users(frame.f_code):
            return Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def failing_line(traceback: TracebackType | None) -> Line | None:
    """The user's line at which an exception came up."""
    lines = [
        Line(step.tb_frame.f_code.co_filename, step.tb_lineno, step.tb_frame.f_code.co_name)
        for step in _steps(traceback)
        if _is_users(step.tb_frame.f_code)
    ]
    return lines[-1] if lines else None


def _steps(traceback: TracebackType | None) -> Iterable[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_users(code: CodeType) -> bool:
    return not code.co_filename.startswith((*_NOT_THE_USERS, "<"))
