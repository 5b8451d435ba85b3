"""Damaged and hostile files: each ends in a FileError or in another model, never in a crash."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from models import MODELS, classifier, islands
from safetensors.torch import save_file
from torch import Tensor

import fxquant
from fxquant.errors import FileError, FxquantError
from fxquant.saving import container

Document = dict[str, Any]
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("saved")
    for name, make in MODELS.items():
        torch.manual_seed(0)
        fxquant.save(make()[0], folder / name)
    return {name: folder / name for name in MODELS}


def written(path: Path, document: Any, tensors: Tensors) -> Path:
    """A file with a valid checksum, as an attacker would write it."""
    container.write(path, document, tensors)
    return path


def refuses(path: Path, *words: str) -> None:
    with pytest.raises(FileError) as caught:
        fxquant.load(path)
    assert str(caught.value).startswith(f"{path} cannot be loaded: ")
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, -1000, -1])
def test_a_truncated_file_is_refused(length: int, saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(saved["classifier"].read_bytes()[:length])
    refuses(tmp_path / "cut")


def test_a_longer_file_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "longer").write_bytes(saved["classifier"].read_bytes() + b"\0")
    refuses(tmp_path / "longer")


def test_every_flipped_bit_is_noticed(saved: dict[str, Path], tmp_path: Path) -> None:
    whole, path, chosen = saved["classifier"].read_bytes(), tmp_path / "flipped", random.Random(0)
    for _ in range(400):
        data = bytearray(whole)
        data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        path.write_bytes(data)
        refuses(path)


@pytest.mark.parametrize("size", [0, 1 << 20, 1 << 31, (1 << 63) - 1, (1 << 64) - 1])
def test_a_header_of_an_impossible_size_is_refused(size: int, saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "header").write_bytes(struct.pack("<Q", size) + saved["classifier"].read_bytes()[8:])
    refuses(tmp_path / "header")


@pytest.mark.parametrize("shape", [[1 << 62], [1 << 40, 1 << 40], [-1], [10], "wide", [2.5]])
def test_a_tensor_of_an_impossible_size_is_refused(shape: Any, tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "I8", "shape": shape, "data_offsets": [0, 8]}}).encode()
    (tmp_path / "size").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    refuses(tmp_path / "size")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "no model that fxquant.save wrote"),
        ({"format": "pt"}, "no model that fxquant.save wrote"),
        ({"fxquant": "2 0 {}"}, "install a newer fxquant"),
        ({"fxquant": "99999999999999999999 0 {}"}, "no number of a version"),
        ({"fxquant": "one 0 {}"}, "no number of a version"),
        ({"fxquant": "1 0 {}"}, "checksum"),
    ],
)
def test_other_files_and_later_versions_are_refused(metadata: Any, words: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "other", metadata)
    refuses(tmp_path / "other", words)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 50_000, "nul", "", "1e999", '"\ud800"', "9" * 5000])
def test_what_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    encoded = text.encode(errors="replace").decode()
    tensors = {"x": torch.zeros(2)}
    entry = f"1 {container.checksum(encoded, tensors)} {encoded}"
    save_file(tensors, tmp_path / "text", {"fxquant": entry})
    refuses(tmp_path / "text")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [('"name":', '"name":"A","name":', "a key twice"), ('["output",', '[NaN,"output",', "NaN")],
)
def test_json_that_reads_in_two_ways_is_refused(
    old: str, new: str, words: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    document, tensors = container.read(saved["classifier"])
    text = json.dumps(document, separators=(",", ":"))
    assert old in text
    text = text.replace(old, new, 1)
    save_file(tensors, tmp_path / "text", {"fxquant": f"1 {container.checksum(text, tensors)} {text}"})
    refuses(tmp_path / "text", words)


def nodes_of(document: Document) -> list[Any]:
    return document["graph"]["nodes"]  # type: ignore[no-any-return]


def region_of(document: Document) -> Document:
    return document["graph"]["modules"]["int8"]["region"]  # type: ignore[no-any-return]


def stem_of(document: Document) -> Document:
    return region_of(document)["modules"]["stem.0"]  # type: ignore[no-any-return]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"tuple": [value]}
    return value


def deep_graph(document: Document) -> None:
    for _ in range(50):
        document["graph"] = {
            "nodes": [["output", "output", "output", [None], {"dict": {}}]],
            "modules": {"x": {"graph": document["graph"], "name": "Deep"}},
            "tensors": {},
        }


EDITS: dict[str, tuple[Callable[[Document], Any], str]] = {
    "a function of the system": (lambda d: nodes_of(d).insert(1, call("os.system", "true")), "os.system"),
    "eval": (lambda d: nodes_of(d).insert(1, call("builtins.eval", "1")), "builtins.eval"),
    "an import": (lambda d: nodes_of(d).insert(1, call("builtins.__import__", "os")), "__import__"),
    "a function that reads": (
        lambda d: nodes_of(d).insert(1, call("torch.from_file", "/etc/passwd")),
        "from_file",
    ),
    "torch.load": (lambda d: nodes_of(d).insert(1, call("torch.load", "/etc/passwd")), "torch.load"),
    "a private attribute": (lambda d: nodes_of(d).insert(1, call("builtins.getattr", "__class__")), "__class__"),
    "a method that writes": (lambda d: nodes_of(d).insert(1, method("set_")), "set_"),
    "a method of no tensor": (lambda d: nodes_of(d).insert(1, method("format")), "format"),
    "an op that does not take this": (lambda d: nodes_of(d).insert(1, call("fxquant.relu", 1, 2, 3)), "too many"),
    "a node of another kind": (
        lambda d: nodes_of(d).insert(1, ["exec", "a", "b", [], {"dict": {}}]),
        "unknown kind",
    ),
    "a node that is not there": (lambda d: nodes_of(d)[1].__setitem__(3, [{"node": "y"}]), "no node before"),
    "no output": (lambda d: nodes_of(d).pop(), "one output"),
    "code in a name": (lambda d: nodes_of(d)[0].__setitem__(1, "x\n    import os"), "no name"),
    "code in an argument": (lambda d: nodes_of(d)[0].__setitem__(2, "x = print(1)"), "no name"),
    "code in a class": (lambda d: d.__setitem__("name", "A(object):\n  x = 1"), "no name"),
    "code in a path": (lambda d: renamed(d, 'a"); print("'), "no path"),
    "an empty path": (lambda d: renamed(d, ""), "no path"),
    "an attribute of all modules": (lambda d: renamed(d, "forward"), "exists"),
    "an attribute of graph modules": (lambda d: renamed(d, "graph"), ""),
    "the region itself": (lambda d: nodes_of(d)[1].__setitem__(2, "int8.int8"), "no attribute"),
    "a layer of an unknown class": (lambda d: stem_of(d).__setitem__("layer", "Layer"), "unknown class"),
    "a layer of another class": (lambda d: stem_of(d).__setitem__("layer", "Int8Linear"), "no constant"),
    "a module of another class": (
        lambda d: module(d, {"nn": "Sequential", "arguments": {"dict": {}}}),
        "unknown class",
    ),
    "a class of no module": (
        lambda d: module(d, {"nn": "functional", "arguments": {"dict": {}}}),
        "unknown class",
    ),
    "a module of an unknown kind": (lambda d: module(d, {"pickle": "gASV"}), "no known kind"),
    "a huge module": (
        lambda d: module(d, {"nn": "Linear", "arguments": {"dict": {"in_features": 1 << 40, "out_features": 1 << 20}}}),
        "not possible",
    ),
    "a module of many layers": (
        lambda d: module(
            d, {"nn": "LSTM", "arguments": {"dict": {"input_size": 1, "hidden_size": 1, "num_layers": 10**9}}}
        ),
        "more than",
    ),
    "a stride of 0": (lambda d: setting(d, "stride", {"tuple": [0, 1]}), "stride_h = 0"),
    "a stride of one number": (lambda d: setting(d, "stride", {"tuple": [1]}), "stride cannot be"),
    "a stride that is a list": (lambda d: setting(d, "stride", [1, 1]), "stride cannot be"),
    "a negative padding": (lambda d: setting(d, "padding", {"tuple": [-1, 0, 0, 0]}), "pad_top = -1"),
    "groups that do not divide": (lambda d: setting(d, "groups", 3), ""),
    "groups that are true": (lambda d: setting(d, "groups", True), "groups cannot be"),
    "an unknown setting": (lambda d: setting(d, "run", "rm"), "no constant"),
    "fields of another kind": (lambda d: setting(d, "output", {"fields": "ConvGeometry"}), "unknown kind"),
    "deep nesting": (lambda d: setting(d, "stride", nested(400)), "nested too deeply"),
    "deep graphs": (deep_graph, "nested too deeply"),
    "a large integer": (lambda d: setting(d, "groups", 1 << 80), "64 bits"),
    "an unknown dtype": (lambda d: setting(d, "groups", {"dtype": "float31"}), "unknown constant"),
    "a value of two kinds": (lambda d: setting(d, "groups", {"tuple": [], "dict": {}}), "no meaning"),
    "an explanation of numbers": (lambda d: d["explanation"][0].__setitem__("reason", 3), "explanation"),
    "no graph": (lambda d: d.pop("graph"), "KeyError"),
    "a list": (lambda d: d.__setitem__("graph", []), ""),
}


def call(function: str, *args: Any) -> list[Any]:
    first = [{"node": "x"}] if function == "builtins.getattr" else []
    return ["call_function", "evil", function, [*first, *args], {"dict": {}}]


def method(name: str) -> list[Any]:
    return ["call_method", "evil", name, [{"node": "x"}], {"dict": {}}]


def renamed(document: Document, path: str) -> None:
    modules = document["graph"]["modules"]
    modules[path] = modules.pop("int8")
    nodes_of(document)[1][2] = path


def module(document: Document, content: Document) -> None:
    document["graph"]["modules"]["more"] = content


def setting(document: Document, name: str, value: Any) -> None:
    stem_of(document)["settings"][name] = value


@pytest.mark.parametrize("name", EDITS)
def test_edited_documents_are_refused(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    edit, words = EDITS[name]
    document, tensors = container.read(saved["classifier"])
    edit(document)
    refuses(written(tmp_path / "edited", document, tensors), words)


TENSOR_EDITS: dict[str, tuple[str, Callable[[Tensor], Tensor | None], str]] = {
    "a missing weight": ("stem.0.weight", lambda _: None, "weight cannot be"),
    "a float weight": ("stem.0.weight", lambda t: t.float(), "weight must be"),
    "a flat weight": ("stem.0.weight", lambda t: t.flatten(), ""),
    "an empty weight": ("stem.0.weight", lambda t: t[:0], ""),
    "a weight of other channels": ("stem.0.weight", lambda t: t[:-1], ""),
    "a bias of another size": ("stem.0.bias", lambda t: t[:-1], "bias must be"),
    "a bias of another dtype": ("stem.0.bias", lambda t: t.long(), "bias must be"),
    "a huge bias": ("stem.0.bias", lambda t: torch.full_like(t, 2**31 - 1), "overflow"),
    "a multiplier that is NaN": ("stem.0.multiplier", lambda t: t * float("nan"), "NaN"),
    "a zero point above 255": ("stem.0.x_zero_point", lambda t: t + 256, "0..255"),
    "a zero point below 0": ("stem.0.output_zero_point", lambda t: t - 256, "0..255"),
    "a zero point that is a float": ("stem.0.x_zero_point", lambda t: t.float(), "x_zero_point cannot be"),
    "several zero points": ("stem.0.x_zero_point", lambda t: t.expand(3), "x_zero_point cannot be"),
    "a scale of 0": ("quantize.q_scale", lambda t: t * 0, "scale cannot be 0"),
    "an infinite scale": ("quantize.q_scale", lambda t: t / 0, "scale cannot be inf"),
    "an infinite result": ("stem.0.output_scale", lambda t: t / 0, "output_scale cannot be inf"),
    "a short table": ("left.0.table", lambda t: t[:255], "table"),
    "a table of floats": ("act.table", lambda t: t.float(), "table must be"),
    "a table of three dimensions": ("act.table", lambda t: t[None], "table is of shape"),
}


@pytest.mark.parametrize("name", TENSOR_EDITS)
def test_edited_tensors_are_refused(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    key, edit, words = TENSOR_EDITS[name]
    document, tensors = container.read(saved["classifier"])
    changed = edit(tensors.pop(key))
    if changed is not None:
        tensors[key] = changed
    refuses(written(tmp_path / "edited", document, tensors), words)


@pytest.mark.parametrize(
    ("key", "edit", "words"),
    [
        ("norm.gain", lambda t: t.double(), "gain must be"),
        ("norm.gain", lambda t: t[:-1], ""),
        ("norm.shift", lambda t: None, "shift cannot be"),
        ("norm.eps", lambda t: -t, "eps cannot be"),
        ("words.rows", lambda t: t.int(), "rows must be"),
        ("words.rows", lambda t: t.flatten(), "are a matrix"),
        ("softmax.x_scale", lambda t: t * 0, "x_scale cannot be 0"),
    ],
)
def test_edited_tensors_of_transformers_are_refused(
    key: str, edit: Callable[[Tensor], Tensor | None], words: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    document, tensors = container.read(saved["tokens"])
    changed = edit(tensors.pop(key))
    if changed is not None:
        tensors[key] = changed
    refuses(written(tmp_path / "edited", document, tensors), words)


@pytest.mark.parametrize("key", ["norm.shift", "groups.gain", "groups.shift"])
def test_parameters_of_other_channels_are_refused_when_they_meet_them(
    key: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    document, tensors = container.read(saved["tokens"])
    tensors[key] = tensors[key][:-1]
    model = fxquant.load(written(tmp_path / "edited", document, tensors))
    with pytest.raises(FxquantError, match=r"same shape|weights are not those of"):
        model(torch.zeros(3, 17, dtype=torch.int64))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda lstm: lstm["layers"].pop("l1"), ""),
        (lambda lstm: lstm["layers"].update(l9=lstm["layers"].pop("l1")), ""),
        (lambda lstm: lstm["layers"].update(l1={"nn": "ReLU", "arguments": {"dict": {}}}), "no known kind"),
        (lambda lstm: lstm.update(sequences="LSTMCell"), "no known kind"),
        (lambda lstm: lstm["options"]["dict"].update(num_layers=1 << 40), "has not 4 of them"),
        (lambda lstm: lstm["options"]["dict"].update(num_layers=True), "options of a LSTM"),
        (lambda lstm: lstm["options"]["dict"].update(forward="x"), "options of a LSTM"),
        (lambda lstm: lstm["layers"]["l0"].update(layer="Int8Linear"), ""),
    ],
)
def test_edited_recurrent_modules_are_refused(
    edit: Callable[[Any], Any], words: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    document, tensors = container.read(saved["islands"])
    edit(document["graph"]["modules"]["lstm"])
    refuses(written(tmp_path / "edited", document, tensors), words)


def test_tensors_that_nothing_reads_are_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    document, tensors = container.read(saved["classifier"])
    refuses(written(tmp_path / "edited", document, {**tensors, "more": torch.zeros(3)}), "nothing reads")


def test_a_table_for_other_channels_is_refused_when_it_runs(saved: dict[str, Path], tmp_path: Path) -> None:
    document, tensors = container.read(saved["classifier"])
    tensors["act.table"] = tensors["act.table"][:3]
    model = fxquant.load(written(tmp_path / "edited", document, tensors))
    with pytest.raises(FxquantError, match="table of shape"):
        model(torch.randn(1, 3, 20, 24))


@pytest.mark.parametrize("values", [{"x_zero_point": 300}, {"multiplier": float("nan")}])
def test_a_hostile_state_dict_is_refused(values: dict[str, float]) -> None:
    model, _ = classifier()
    state = model.state_dict()
    for name, value in values.items():
        state[f"stem.0.{name}"] = torch.full_like(state[f"stem.0.{name}"], value)
    with pytest.raises(FxquantError):
        model.load_state_dict(state)


# Random edits: of any value of a document by another that JSON can hold, or of any tensor.

VALUES = (
    *(None, True, 0, 1, -1, 2, 3, 255, 256, 1 << 31, 1 << 62, 1 << 70, 0.5, -1.0, 1e300, "", "x", "int8", [], {}),
    *({"tuple": []}, {"tuple": [1, 1]}, {"node": "x"}, {"float": "nan"}, {"dtype": "int8"}, {"fields": "QParams"}),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container within `value`, with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def mutated(document: Any, chosen: random.Random) -> Any:
    document = copy.deepcopy(document)
    spots = list(places(document))
    for _ in range(chosen.choice((1, 1, 2, 5))):
        where, key = chosen.choice(spots)
        action = chosen.randrange(4)
        if action == 0 and isinstance(where, dict):
            where.pop(key, None)
        elif action == 1 and isinstance(where, list):
            where.insert(chosen.randrange(len(where) + 1), copy.deepcopy(chosen.choice(where)))
        elif action == 2:
            other, other_key = chosen.choice(spots)
            if key in where if isinstance(where, dict) else key < len(where):
                where[key] = copy.deepcopy(other.get(other_key) if isinstance(other, dict) else other[-1:])
        elif isinstance(where, dict) or key < len(where):
            where[key] = chosen.choice(VALUES)
    return document


def mutated_tensors(tensors: Tensors, chosen: random.Random) -> Tensors:
    tensors = dict(tensors)
    for name in chosen.sample(sorted(tensors), chosen.choice((0, 1, 3))):
        tensor = tensors[name]
        tensors[name] = chosen.choice(
            (
                lambda t: t.reshape(-1)[: chosen.randrange(t.numel() + 1)],
                lambda t: t.to(chosen.choice((torch.int8, torch.uint8, torch.int32, torch.int64, torch.float16))),
                lambda t: torch.randint(-128, 128, t.shape).to(t.dtype),
                lambda t: torch.full_like(t, chosen.choice((0, 1, 127))),
                lambda t: t.unsqueeze(0),
                lambda t: tensors[chosen.choice(sorted(tensors))],
            )
        )(tensor)
    return tensors


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_random_edits_never_crash(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    chosen = random.Random(name)
    document, tensors = container.read(saved[name])
    shape, dtype = fxquant.load(saved[name]).meta["inputs"][0]
    x = torch.testing.make_tensor(shape, dtype=dtype, device="cpu", low=-2 if dtype.is_floating_point else 0, high=3)
    path, outcomes = tmp_path / "edited", {"refused": 0, "ran": 0, "raised": 0}
    for _ in range(400):
        edited = mutated(document, chosen)
        try:
            written(path, edited, mutated_tensors(tensors, chosen))
        except (TypeError, ValueError, RecursionError):
            continue
        try:
            model = fxquant.load(path)
        except FileError:
            outcomes["refused"] += 1
            continue
        try:
            model(x)
            outcomes["ran"] += 1
        except Exception:  # the graph is another one now, and torch may raise in it as it does in a user's model
            outcomes["raised"] += 1
    assert outcomes["refused"] > 100
    assert outcomes["ran"] > 0


def test_an_edited_island_may_read_nothing_new(tmp_path: Path) -> None:
    model, _ = islands()
    fxquant.save(model, tmp_path / "model")
    document, tensors = container.read(tmp_path / "model")
    [node] = [node for node in nodes_of(document) if node[2] == "builtins.getattr"]
    node[3][1] = "__dict__"
    refuses(written(tmp_path / "edited", document, tensors), "__dict__")
