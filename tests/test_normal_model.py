"""A converted model is a model like any other: it is copied, saved, exported, compiled and sent to other processes."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch
from random_models import INPUT, RandomModel
from regions import assert_same, quantized
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fxquant import explain
from fxquant.demo import data, packages
from fxquant.runtime.quantized_module import QuantizedModule

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["mobilenetv2", "efficientnet-lite0", "random"])
def case(request: pytest.FixtureRequest) -> tuple[QuantizedModule, Tensor]:
    torch.manual_seed(0)
    if request.param == "random":
        x = torch.randn(INPUT)
        return quantized(RandomModel(5), x), x
    if missing := packages.missing_packages():
        pytest.skip(f"{', '.join(missing)} missing: {packages.install_command()}")
    x = data.center_crops(request.param)[:2]
    return quantized(data.load_network(request.param), x), x


def _pickled(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def _saved(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("travel", [copy.deepcopy, copy.copy, _pickled, _saved])
def test_copies_compute_the_same(travel: Callable[[Any], Any], case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    copied = travel(model)
    assert isinstance(copied, QuantizedModule)
    assert type(copied).__name__ == type(model).__name__
    assert_same(copied(x), model(x))
    assert_same(travel(copied)(x), model(x))
    assert explain(copied) == explain(model)
    assert copied.state_dict().keys() == model.state_dict().keys()


class Places(nn.Module):
    """A slice up to a size of the input, as of position embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.places = nn.Linear(4, 4), nn.Parameter(torch.randn(10, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) + self.places[: x.shape[1]]
        return y


def test_a_copy_slices_by_sizes_too() -> None:
    x = torch.randn(2, 3, 4)
    model = quantized(Places(), x)
    assert_same(_pickled(model)(x), model(x))


def test_a_state_dict_goes_into_a_freshly_converted_model() -> None:
    """pytorch/pytorch#69426 and #61881: what torch.ao saved could not be loaded again."""
    torch.manual_seed(3)
    x = torch.randn(INPUT)
    model = quantized(RandomModel(7), x)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(4)
    other = quantized(RandomModel(7), 3 * x)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_same(other(x), model(x))


@pytest.mark.parametrize("strict", [True, False])
def test_export_keeps_the_kernels(strict: bool, case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    exported = torch.export.export(model, (x,), strict=strict)
    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert "fxquant.conv2d.default" in called
    assert_same(exported.module()(x), model(x))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    assert_same(torch.export.load(file).module()(x), model(x))


def test_export_takes_any_batch(case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    more = torch.cat([x, x.flip(0), x], 0)
    assert_same(exported.module()(more), model(more))


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compile_breaks_no_graph(backend: str, case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    assert_same(compiled(x), model(x))


def test_compile_of_a_module_around_it_breaks_no_graph(case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Any:
            return self.inner(torch.relu(x))

    torch._dynamo.reset()
    compiled = torch.compile(Around(), fullgraph=True, backend="eager")
    assert_same(compiled(x), model(torch.relu(x)))


# Other processes.

MODEL: QuantizedModule | None = None


def _set_model(model: QuantizedModule) -> None:
    global MODEL
    MODEL = model


def _run(x: Tensor) -> Any:
    assert MODEL is not None
    return MODEL(x)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("threads", [1, 2])
def test_worker_processes_compute_the_same(method: str, threads: int, case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = model(x)  # the parent has threads of its own by now
        context: Any = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context, _set_model, (model,)) as pool:
            for result in pool.map(_run, [x.clone() for _ in range(4)], timeout=120):
                assert_same(result, expected)
    finally:
        torch.set_num_threads(before)


class Embedded(Dataset[Any]):
    """Runs a model in the workers of a DataLoader."""

    def __init__(self, model: QuantizedModule, x: Tensor) -> None:
        self.model, self.x = model, x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        result = self.model(self.x[index : index + 1])
        return result[0] if isinstance(result, Tensor) else tuple(value[0] for value in result)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_compute_the_same(method: str, case: tuple[QuantizedModule, Tensor]) -> None:
    model, x = case
    loader = DataLoader(Embedded(model, x), batch_size=len(x), num_workers=1, multiprocessing_context=method)
    [batch] = list(loader)
    assert_same(batch, model(x))
