"""Every function that reads or writes a file, given a path that none can be at: one PathError, which names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxquant as fq
from fxquant.drawing.model import Drawing
from fxquant.errors import FxquantError, PathError


class Bytes(os.PathLike):  # type: ignore[type-arg]  # whose path is no text
    def __fspath__(self) -> Any:
        return b"model"


X = torch.randn(2, 4)
NET = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
INT8 = fq.convert_fx(fq.calibrate(fq.prepare_fx(NET, fq.get_default_qconfig_mapping(), (X,)), [X]))

NO_FILES: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda folder: folder,
    "in a file": lambda folder: folder / "file" / "model.html",
    "a null byte": lambda folder: str(folder / "mo\0del.html"),
    "a surrogate": lambda folder: str(folder / "mo\ud800del.html"),
    "a long name": lambda folder: folder / f"{'m' * 300}.html",
    "bytes": lambda _: Bytes(),
}
READ: dict[str, Callable[[Any], object]] = {
    "load": fq.load,
    "Drawing.load": Drawing.load,
    "diff": lambda path: fq.diff(path, path),
}
WRITTEN: dict[str, Callable[[Any], object]] = {
    "save": lambda path: fq.save(INT8, path),
    "export_onnx": lambda path: fq.export_onnx(INT8, path),
    "report": lambda path: fq.report(NET, INT8, [X], path),
    "draw": lambda path: fq.draw(INT8, path),
}


@pytest.mark.parametrize("use", [*READ, *WRITTEN])
@pytest.mark.parametrize("no_file", NO_FILES)
def test_a_path_that_no_file_is_at(use: str, no_file: str, tmp_path: Path) -> None:
    if use == "export_onnx":
        pytest.importorskip("onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(FxquantError) as error:
        {**READ, **WRITTEN}[use](NO_FILES[no_file](tmp_path))
    if no_file not in ("a folder", "bytes"):  # which may be refused for their suffix, their class or what they hold
        assert isinstance(error.value, PathError)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("use", READ)
def test_a_file_that_is_not_there_is_an_oserror(use: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot read '.*nothing\.json': No such file") as error:
        READ[use](tmp_path / "nothing.json")
    assert isinstance(error.value, PathError)


def test_what_was_saved_stays_if_the_folder_is_gone(tmp_path: Path) -> None:
    fq.save(INT8, tmp_path / "model")
    with pytest.raises(PathError, match=r"cannot write '.*none/model'"):
        fq.save(INT8, tmp_path / "none" / "model")
    assert torch.equal(fq.load(tmp_path / "model")(X), INT8(X))
