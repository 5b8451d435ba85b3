"""Loading an int8 model makes no float weights: what it allocates is counted, tensor by tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fxquant
from fxquant import QConfig, QConfigMapping, convert_fx, prepare_fx
from fxquant.qconfig import per_channel_dynamic_qconfig, per_channel_weight_only_qconfig


class Allocations(TorchDispatchMode):
    """`peak`: bytes of the storages that were alive at once; `floats`: elements of the largest tensor of floats."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = self.floats = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.alive:
            self.alive[storage._cdata] = storage.nbytes()
            weakref.finalize(tensor, self.alive.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        if tensor.is_floating_point():
            self.floats = max(self.floats, tensor.numel())


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(256, 256), nn.Linear(256, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


MODELS: list[tuple[Callable[[], nn.Module], QConfig, Any]] = [
    (lambda: nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512)), per_channel_dynamic_qconfig, (4, 512)),
    (lambda: nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512)), per_channel_weight_only_qconfig, (4, 512)),
    (Tagger, per_channel_dynamic_qconfig, (3, 2, 256)),
]


@pytest.mark.parametrize(("make", "qconfig", "shape"), MODELS)
def test_no_float_weights(make: Callable[[], nn.Module], qconfig: QConfig, shape: Any, tmp_path: Any) -> None:
    model, x = make().eval(), torch.randn(shape)
    floats = sum(p.numel() for p in model.parameters())
    quantized = convert_fx(prepare_fx(model, QConfigMapping().set_global(qconfig), (x,)))
    fxquant.save(quantized, tmp_path / "model.fxq")
    assert (tmp_path / "model.fxq").stat().st_size < 0.27 * 4 * floats
    with Allocations() as found:
        loaded = fxquant.load(tmp_path / "model.fxq")
    assert 0 < found.floats < floats / 100
    assert 0.2 * 4 * floats < found.peak < 0.8 * 4 * floats
    assert torch.equal(loaded(x), quantized(x))


def test_a_conversion_needs_little_beside_the_weights() -> None:
    """A matrix is rounded in pieces: as a whole, each of some six steps would make floats of all of it."""
    model, floats = nn.Sequential(nn.Linear(2048, 1024)).eval(), 4 * 2048 * 1024
    with Allocations() as eager:
        fxquant.quantize_dynamic(model, {nn.Linear: per_channel_dynamic_qconfig})
    assert eager.peak < 2 * floats  # the model's own, a quarter for the integers, and pieces
    prepared = prepare_fx(model, QConfigMapping().set_global(per_channel_dynamic_qconfig), torch.randn(1, 2048))
    with Allocations() as graph:
        convert_fx(prepared)
    assert graph.peak < 2.5 * floats  # it works on a copy
