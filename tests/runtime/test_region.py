"""Regions in users' hands: threads, memory, caches, saved models, tracers, wrong inputs."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from graphs import Written
from regions import (
    assert_planned_right,
    assert_same,
    kernels_of,
    node_by_node,
    plan_of,
    quantized,
    region_of,
    regions_of,
)
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace
from torch.fx.experimental.proxy_tensor import make_fx
from torch.profiler import profile

from fxquant import quantize_dynamic
from fxquant.errors import InputError, TraceError, UnsupportedError
from fxquant.qparams import QParams
from fxquant.runtime import planner
from fxquant.runtime.layers import Quantize
from fxquant.runtime.programs import KEPT_PROGRAMS
from fxquant.runtime.quantized_module import QuantizedModule

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def model(channels: int = 8) -> QuantizedModule:
    """One region."""
    modules = {"a": nn.Conv2d(3, channels, 3, padding=1), "b": nn.Conv2d(channels, 4, 3, padding=1)}
    return quantized(Written(lambda m, x: m.b(torch.relu(m.a(x))), **modules), X)


def model_of_two() -> QuantizedModule:
    """Two regions, with a sine between them."""
    modules = {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(8, 4, 3, padding=1)}
    return quantized(Written(lambda m, x: m.b(torch.sin(m.a(x))), **modules), X)


@pytest.mark.parametrize("team", [1, 2])
def test_eight_threads_call_one_model_at_once(team: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "SERIAL_WORK", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(team)
    gm = model(channels=64)
    inputs = [torch.randn(1 + i % 2, 3, 24 + i % 3, 24) for i in range(8)]
    expected = [node_by_node(gm, x) for x in inputs]

    def call(i: int) -> bool:
        torch.set_num_threads(team)
        return all(torch.equal(gm(inputs[i]), expected[i]) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
    torch.set_num_threads(before)
    plans = region_of(gm).programs.plans.values()
    assert len(plans) == 6
    assert all(1 <= plan.program.arenas <= 8 for plan in plans)


def test_a_running_program_lets_other_python_threads_run() -> None:
    """So several runs of one program overlap, each in an arena of its own."""
    gm, x = model(channels=64), torch.randn(1, 3, 96, 96)
    expected = gm(x)
    with ThreadPoolExecutor(8) as pool:
        assert all(torch.equal(y, expected) for y in pool.map(lambda _: gm(x), range(64)))
    (plan,) = region_of(gm).programs.plans.values()
    assert 2 <= plan.program.arenas <= 8


def allocations(call: Callable[[], Any]) -> list[int]:
    """The bytes of each allocation of torch's that `call` makes."""
    with profile(profile_memory=True) as profiler:
        call()
    assert profiler.profiler is not None
    events = profiler.profiler.kineto_results.events()
    return [event.nbytes() for event in events if event.name() == "[memory]" and event.nbytes() > 0]


def test_a_second_call_allocates_nothing_but_its_output() -> None:
    gm = model()
    y = gm(X)
    assert allocations(lambda: gm(X)) == [y.numel() * y.element_size()]
    (plan,) = region_of(gm).programs.plans.values()
    assert plan.program.arenas == 1


def test_programs_are_kept_for_the_layouts_met_last() -> None:
    gm = model()
    programs = region_of(gm).programs
    for width in range(3, 3 + KEPT_PROGRAMS + 4):
        gm(torch.randn(1, 3, 4, width))
        gm(torch.randn(1, 3, 4, width))
    assert len(programs.plans) == KEPT_PROGRAMS
    latest = list(programs.plans.values())
    gm(torch.randn(1, 3, 4, width))
    assert list(programs.plans.values()) == latest


def test_threads_set_between_calls() -> None:
    gm, before = model(), torch.get_num_threads()
    expected = node_by_node(gm, X)
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        assert torch.equal(gm(X), expected)
    torch.set_num_threads(before)
    assert len(region_of(gm).programs.plans) == 2


# Saved models.


@pytest.mark.parametrize("build", [model, model_of_two])
def test_loaded_numbers_count_at_once(build: Callable[[], QuantizedModule]) -> None:
    gm, other = build(), build()
    before, expected = gm(X), other(X)
    assert not torch.equal(before, expected)
    gm.load_state_dict(other.state_dict())
    assert torch.equal(gm(X), expected)
    gm.load_state_dict(build().state_dict(), assign=True)
    assert_planned_right(gm, X)


@pytest.mark.parametrize("build", [model, model_of_two])
def test_state_dicts_do_not_know_of_regions(build: Callable[[], QuantizedModule]) -> None:
    gm = build()
    names = set(gm.state_dict())
    assert {name.split(".")[0].split("_")[0] for name in names} == {"quantize", "a", "b"}
    wrapper = nn.ModuleDict({"net": nn.Sequential(copy.deepcopy(gm))})
    assert set(wrapper.state_dict()) == {f"net.0.{name}" for name in names}
    other = build()
    state = {f"net.0.{name}": tensor for name, tensor in other.state_dict().items()}
    assert str(wrapper.load_state_dict(state)) == "<All keys matched successfully>"
    assert set(state) == set(wrapper.state_dict())
    assert torch.equal(wrapper["net"](X), other(X))


def test_wrong_state_dicts() -> None:
    gm = model_of_two()
    state = dict(gm.state_dict())
    del state["a.weight"]
    state["other"] = torch.ones(1)
    state["b.other"] = torch.ones(1)
    with pytest.raises(RuntimeError, match=r'(?s)Missing.*: "a\.weight".*Unexpected.*: "other", "b\.other"\.'):
        gm.load_state_dict(state)
    result = gm.load_state_dict(state, strict=False)
    assert result.missing_keys == ["a.weight"]
    assert result.unexpected_keys == ["other", "b.other"]
    state["b.bias"] = torch.zeros(7, dtype=torch.int32)
    wrapper = nn.ModuleDict({"net": gm})
    with pytest.raises(RuntimeError, match=r"size mismatch for net\.b\.bias: "):
        wrapper.load_state_dict({f"net.{name}": tensor for name, tensor in state.items()})


def _saved(gm: GraphModule) -> Any:
    file = io.BytesIO()
    torch.save(gm, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda gm: pickle.loads(pickle.dumps(gm)), _saved])
@pytest.mark.parametrize("build", [model, model_of_two])
def test_copies_plan_again(build: Callable[[], QuantizedModule], travel: Callable[[GraphModule], GraphModule]) -> None:
    gm = build()
    expected = gm(X)
    copied = travel(gm)
    assert all(not region.programs.plans for region in regions_of(copied).values())
    assert torch.equal(copied(X), expected)
    assert_planned_right(copied, X)
    assert list(regions_of(copied)) == list(regions_of(gm))
    assert all(len(region.programs.plans) == 2 for region in regions_of(copied).values())


# Who else watches.


TRACERS: dict[str, Callable[[nn.Module], Any]] = {
    "export": lambda gm: torch.export.export(gm, (X,)).module(),
    "compile": lambda gm: torch.compile(gm, fullgraph=True, backend="eager"),
    "jit": lambda gm: torch.jit.trace(gm, X),  # type: ignore[no-untyped-call]
    "make_fx": lambda gm: make_fx(gm)(X),
    "symbolic_trace": symbolic_trace,
}


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("build", [model, model_of_two])
def test_tracers_see_the_ops(build: Callable[[], QuantizedModule], tracer: str) -> None:
    gm = build()
    gm(X)
    traced = TRACERS[tracer](gm)
    x = torch.randn_like(X)
    assert torch.equal(traced(x), gm(x))


def test_scripting_says_what_to_do_instead() -> None:
    dynamic = quantize_dynamic(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    for gm, name in ((model(), "Int8Region"), (dynamic, "DynamicQuantizedLinear")):
        with pytest.raises(UnsupportedError, match=rf"cannot compile a {name}.*torch.jit.trace\(model, example_inputs"):
            torch.jit.script(gm)


@pytest.mark.parametrize("build", [model, model_of_two])
def test_a_region_is_one_call_in_a_trace(build: Callable[[], QuantizedModule]) -> None:
    gm = build()
    outer = nn.Sequential(gm, nn.ReLU())
    traced = symbolic_trace(outer)
    called = [str(node.target) for node in traced.graph.nodes if node.op == "call_module"]
    assert called == [*(f"0.{name}" for name in regions_of(gm)), "1"]
    assert torch.equal(traced(X), outer(X))


def test_a_layer_by_itself_is_one_call_in_a_trace() -> None:
    layer = Quantize({"q": QParams(0.5, 3)})
    outer = nn.Sequential(layer, nn.Flatten())
    traced = symbolic_trace(outer)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]
    assert torch.equal(traced(X), outer(X))
    with pytest.raises(TraceError, match=r"a Quantize is one int8 call.*; trace a module that calls it"):
        symbolic_trace(nn.ModuleList([layer])[0])


def test_an_int8_model_within_one_that_is_quantized() -> None:
    outer = Written(lambda m, x: m.head(m.net(x).flatten(1)), net=model(), head=nn.Linear(4 * 64, 3))
    twice = quantized(outer, X)
    assert len(regions_of(twice)) == 2
    assert_same(twice(X), node_by_node(twice, X))


# What is no plain float tensor.


def test_keywords_parameters_and_gradients() -> None:
    gm = model()
    expected = gm(X)
    assert torch.equal(gm(x=X), expected)
    assert torch.equal(gm(nn.Parameter(X)), expected)
    assert torch.equal(gm(X.clone().requires_grad_()), expected)


def test_numbers_that_torch_negates_when_it_reads_them() -> None:
    x = torch.complex(X, X).conj().imag
    assert x.is_neg()
    gm = model()
    assert torch.equal(gm(x), gm(x.resolve_neg()))


@pytest.mark.parametrize("build", [model, model_of_two])
def test_an_empty_batch(build: Callable[[], QuantizedModule]) -> None:
    assert build()(X[:0]).shape == (0, 4, 8, 8)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.to("meta"), "quantize: a tensor on meta"),
        (X.double(), "quantize: .*float64"),
        (None, "quantize: a NoneType"),
        ([1.0], "quantize: a list"),
        (X[:, :2], r"^a \(Conv2d.*channels"),
        (X[0], r"^a \(Conv2d.*\[3, 8, 8\]"),
        (X[..., :0], r"^a \(Conv2d.*8 x 0 pixels"),
    ],
)
def test_wrong_inputs_name_the_place(x: Any, message: str) -> None:
    gm = model()
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            gm(x)
    assert torch.equal(gm(X), node_by_node(gm, X))


def test_a_model_of_one_linear() -> None:
    gm = quantized(nn.Sequential(nn.Linear(12, 5)), torch.randn(3, 12))
    assert kernels_of(plan_of(gm, torch.randn(3, 12))) == ["quantize", "linear"]
    assert_planned_right(gm, torch.randn(3, 12), torch.randn(12), torch.randn(2, 3, 4, 12), torch.randn(9, 12)[:, :])


def test_several_inputs_and_results() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(2, 4, 1)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
            first = self.a(x)
            return {"sum": first + self.b(y), "parts": [first, self.b(y).flatten(1)]}

    x, y = torch.randn(2, 3, 6, 6), torch.randn(2, 2, 6, 6)
    gm = quantized(Two(), x, y)
    assert_same(gm(x, y), node_by_node(gm, x, y))
    assert_same(gm(x, y=y), node_by_node(gm, x, y))
    swapped = x.transpose(2, 3), y[:1].expand(2, 2, 6, 6)
    assert_same(gm(*swapped), node_by_node(gm, *swapped))


def test_hooks_on_the_only_region_are_called() -> None:
    quantized_model = quantized(nn.Sequential(nn.Linear(4, 3)), torch.randn(2, 4))
    seen: list[Any] = []
    region = region_of(quantized_model)
    before = region.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    after = region.register_forward_hook(lambda module, inputs, result: seen.append(result.shape))
    quantized_model(torch.randn(5, 4))
    assert seen == [(5, 4), (5, 3)]
    before.remove()
    after.remove()
    quantized_model(torch.randn(5, 4))
    assert len(seen) == 2
