"""The file: a safetensors file with one entry of metadata, "fxquant", which holds the rest of the model:

    version checksum JSON

`version` is that of this format. `checksum` is the SHA-256 of the JSON and of every tensor, so that what was damaged on
its way is not taken for another model. document.py says what is in the JSON.

Nothing here is code, or names code: reading it builds plain values and tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fxquant.errors import FileError
from fxquant.paths import reaching
from fxquant.saving.values import shortened

ENTRY, VERSION = "fxquant", 1


def write(path: str | os.PathLike[str], model: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes the file in one step: whoever reads `path` meanwhile finds the old file, or the whole new one.

    Raises PathError if it cannot be written.
    """
    text = json.dumps(model, allow_nan=False, separators=(",", ":"))
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    metadata = {ENTRY: f"{VERSION} {checksum(text, copies)} {text}"}
    with reaching(path, "write") as file:
        unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
        try:
            save_file(copies, unfinished, metadata)
            os.replace(unfinished, file)
        except SafetensorError as error:  # which holds what the system said
            raise OSError(str(error)) from error
        finally:
            unfinished.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Tensor]]:
    """The JSON and the tensors of a file.

    Raises PathError if it cannot be read, FileError if it is damaged, of another format or later.
    """
    try:
        with reaching(path, "read") as place:
            opened = safe_open(place, framework="pt", device="cpu")
        with opened as file:
            version, expected, text = _parts(file.metadata() or {})
            _check_version(version)
            # Copies: the file's own memory would change, or be gone, if someone writes to the file later.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  it is no dict
    except SafetensorError as error:
        raise FileError(f"it is damaged, or no safetensors file: {error}") from error
    if expected != checksum(text, tensors):
        raise FileError("it is damaged: its checksum does not fit")
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number), tensors


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the text and of every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise FileError(f"an object of its JSON has a key twice, among {shortened([key for key, _ in pairs])}")
    return found


def _no_number(constant: str) -> None:
    raise FileError(f"its JSON holds {constant}, which is no number of JSON")


def _parts(metadata: Mapping[str, str]) -> list[str]:
    parts = metadata.get(ENTRY, "").split(" ", 2)
    if len(parts) != 3:
        raise FileError("it holds tensors, but no model that fxquant.save wrote")
    return parts


def _check_version(version: str) -> None:
    if not version.isdecimal() or len(version) > 9 or int(version) < 1:
        raise FileError(f"its version is {version[:20]!r}, which is no number of a version")
    if int(version) > VERSION:
        raise FileError(f"its version is {version}, and this fxquant reads up to {VERSION}; install a newer fxquant")
