"""Whatever a kernel's torch op is given ends in a result or in an InputError, never in a crash of the process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import fxquant as fq
from fxquant.errors import InputError

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """A little of everything: convolutions, norms, pools, tables, attention, a recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.groups, self.norm, self.linear = nn.GroupNorm(2, 8), nn.LayerNorm(8), nn.Linear(8, 6)
        self.attention, self.lstm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).relu()
        y = self.depthwise(y) + y
        y = nn.functional.max_pool2d(y, 2) * nn.functional.avg_pool2d(y, 2)
        y = nn.functional.interpolate(self.groups(y), scale_factor=2.0, mode="bilinear")
        y = self.norm(y.flatten(2).transpose(1, 2))
        y, _ = self.lstm(self.attention(y, y, y)[0])
        y = (y @ y.mT).softmax(-1) @ y
        return self.linear(nn.functional.gelu(y))  # type: ignore[no-any-return]


class Recorder(TorchDispatchMode):
    """The first call of each of our torch ops."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "fxquant":
            self.calls.setdefault(str(func), (func, (args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def recorded() -> dict[str, tuple[Any, Any]]:
    """One call for each torch op of static, dynamic and weight-only models, by the op's name."""
    torch.manual_seed(0)
    model, recorder = Network().eval(), Recorder()
    for qconfig in (fq.get_default_qconfig(), fq.default_dynamic_qconfig, fq.default_weight_only_qconfig):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            prepared = fq.prepare_fx(model, fq.QConfigMapping().set_global(qconfig), (X,))
            prepared(X)
            quantized = fq.convert_fx(prepared, passes=[fq.without("plan_regions")])
            with recorder:
                quantized(X)
    return recorder.calls


def wrong(given: Any) -> Iterator[Any]:
    """What may stand in the place of an argument."""
    if isinstance(given, Tensor):
        yield from (torch.empty(0, dtype=given.dtype), given.flatten(), given[None], given.flatten()[:1].reshape(()))
        if given.dim():
            yield from (given[:0], given[..., :-1], given[:-1], given.flatten()[:1].expand(given.shape))
            yield torch.stack((given, given), -1)[..., 0]
        if given.dim() > 1:
            yield given.permute(*reversed(range(given.dim())))
        yield from (given.to(dtype) for dtype in (torch.float32, torch.int8, torch.uint8, torch.int64, torch.bool))
        if given.is_floating_point():
            yield from (torch.full_like(given, value) for value in (float("nan"), float("inf"), 1e-45, -3e38))
    elif isinstance(given, bool):
        yield not given
    elif isinstance(given, int):
        yield from (-1, 0, 7, -(2**31), 2**31 - 1, 2**40)
    elif isinstance(given, float):
        yield from (0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e300)
    elif isinstance(given, str):
        yield "nonsense"


@pytest.mark.slow
def test_one_argument_that_is_wrong() -> None:
    calls = recorded()
    assert len(calls) >= 20
    for func, given in calls.values():
        leaves, form = pytree.tree_flatten(given)
        for place, leaf in enumerate(leaves):
            for value in wrong(leaf):
                args, kwargs = pytree.tree_unflatten([*leaves[:place], value, *leaves[place + 1 :]], form)
                try:
                    result = func(*args, **kwargs)
                except InputError:
                    continue
                assert all(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result))


def test_what_no_kernel_takes_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"these arguments are none for fxquant::quantize\("):
        torch.ops.fxquant.quantize(torch.ones(2), 0.5, 2**40, 0, 255)
