"""What follows a dynamic linear layer becomes a part of it: gelu, silu, the sum with a residual; the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from regions import assert_planned_right, quantized
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import QConfigMapping, convert_fx, explain, prepare_fx, without
from fxquant.errors import InputError
from fxquant.qconfig import per_channel_dynamic_qconfig
from fxquant.runtime.layers import DynamicLinear
from fxquant.runtime.quantized_module import QuantizedModule

DYNAMIC = QConfigMapping().set_global(per_channel_dynamic_qconfig)
Follows = Callable[[Tensor, Tensor, Tensor], Tensor]


class Followed(nn.Module):
    """`follows` of two products of x, and of x."""

    def __init__(self, follows: Follows) -> None:
        super().__init__()
        self.a, self.b, self.follows = nn.Linear(24, 24), nn.Linear(24, 24), follows

    def forward(self, x: Tensor) -> Tensor:
        return self.follows(self.a(x), self.b(x), x)


ABSORBED: dict[str, tuple[Follows, list[tuple[str, ...]]]] = {
    "gelu": (lambda a, b, x: F.gelu(a) * b.sigmoid(), [("F.gelu",), ()]),
    "gelu tanh": (lambda a, b, x: F.gelu(a, approximate="tanh") * b.sigmoid(), [("F.gelu",), ()]),
    "silu": (lambda a, b, x: F.silu(a) * b.sigmoid(), [("F.silu",), ()]),
    "residual on the left": (lambda a, b, x: x + a - b, [("add",), ()]),
    "residual on the right": (lambda a, b, x: a + x - b, [("add",), ()]),
    "two products": (lambda a, b, x: a + b, [(), ("add",)]),
    "both": (lambda a, b, x: x + F.gelu(a) + F.silu(b), [("F.gelu", "add"), ("F.silu", "add")]),
    "relu first": (lambda a, b, x: x + F.relu(a) - b, [("F.relu", "add"), ()]),
    "read twice": (lambda a, b, x: F.gelu(a) + a - b, [(), ()]),
    "added to itself": (lambda a, b, x: a + a - b, [(), ()]),
    "activation of a sum": (lambda a, b, x: F.gelu(x + a) - b, [("add",), ()]),
    "broadcast": (lambda a, b, x: a[..., :1, :] + b, [(), ("add",)]),
    "of other shape": (lambda a, b, x: x[None] + a - b, [(), ()]),
}


def of(follows: Follows, x: Tensor, **settings: object) -> QuantizedModule:
    torch.manual_seed(0)
    prepared = prepare_fx(Followed(follows).eval(), DYNAMIC, (x,))
    return convert_fx(prepared, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ABSORBED.values(), ids=ABSORBED.keys())
@pytest.mark.parametrize("shape", [(1, 24), (3, 41, 24)], ids=str)
def test_absorbed(case: tuple[Follows, list[tuple[str, ...]]], shape: tuple[int, ...]) -> None:
    follows, absorbed = case
    x = torch.randn(shape)
    model, apart = of(follows, x), of(follows, x, passes=[without("lower_absorb")])
    assert sorted(row.absorbed for row in explain(model).rows if row.op == "DynamicLinear") == sorted(absorbed)
    assert torch.equal(model(x), apart(x))
    assert_planned_right(model, x, torch.randn(7, *shape[1:]))


def test_a_residual_may_have_another_size_than_the_examples_had() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(24, 24)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            z: Tensor = self.a(x) + y
            return z

    model, x, y = Sum().eval(), torch.randn(4, 3, 24), torch.randn(1, 1, 24)
    found = quantized(model, x, x, mapping=DYNAMIC)
    [row] = explain(found).rows
    assert row.absorbed == ("add",)
    for pair in ((x, y), (y, x), (x, x[0]), (x[0], x)):
        torch.testing.assert_close(found(*pair), model(*pair), rtol=0, atol=0.1)
        assert_planned_right(found, pair)


@pytest.mark.parametrize("name", ["both", "gelu", "gelu tanh", "two products"])
def test_saved_and_exported(name: str, tmp_path: Path) -> None:
    x = torch.randn(3, 41, 24)
    model = of(ABSORBED[name][0], x)
    fxquant.save(model, tmp_path / "model")
    loaded = fxquant.load(tmp_path / "model")
    assert torch.equal(loaded(x), model(x))
    assert [row.absorbed for row in explain(loaded).rows] == [row.absorbed for row in explain(model).rows]
    pytest.importorskip("onnxruntime")
    from onnx_models import assert_layers_within_a_step

    assert assert_layers_within_a_step(model, x) >= 2


def test_another_activation_is_refused() -> None:
    model = of(ABSORBED["gelu"][0], torch.randn(3, 24))
    layer = next(module for module in model.modules() if isinstance(module, DynamicLinear))
    settings = {**layer.settings, "activation": "elu"}
    with pytest.raises(InputError, match="elu"):
        DynamicLinear.restored(settings, dict(layer.named_buffers()))
