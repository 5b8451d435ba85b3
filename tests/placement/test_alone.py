"""A unit on its own is what it was in the model, and becomes the kernel that it would be there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from graphs import Written, calls
from stub import image, prepared
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import ops
from fxquant.placement.alone import alone, in_int8, signature
from fxquant.placement.units import units_of

X = image(2, 4, 8, 8)


def singles(code: Any, **modules: nn.Module) -> list[GraphModule | None]:
    gm = prepared(Written(code, **modules), X)
    return [alone(gm, unit) for unit in units_of(gm)]


def one(code: Any, **modules: nn.Module) -> GraphModule:
    single = singles(code, **modules)[-1]
    assert single is not None
    return single


def layers(single: GraphModule) -> list[str]:
    gm = in_int8(single)
    return [type(gm.get_submodule(str(n.target))).__name__ for n in gm.graph.nodes if n.op == "call_module"]


def test_it_computes_what_the_unit_computes() -> None:
    model = Written(lambda m, x: F.relu(m.a(x) + x), a=nn.Conv2d(4, 4, 3, padding=1))
    (single,) = singles(model.code, a=model.a)  # type: ignore[arg-type]
    assert single is not None
    (result,) = single(X)
    torch.testing.assert_close(result, model(X))


def test_it_becomes_one_kernel_between_the_conversions() -> None:
    residual = one(lambda m, x: F.relu(m.a(x) + x), a=nn.Conv2d(4, 4, 1))
    assert sorted(layers(residual)) == ["Dequantize", "Int8Conv2d", "Quantize"]
    table = one(lambda m, x: F.silu(m.a(x)), a=nn.Conv2d(4, 4, 1))
    assert layers(table) == ["Quantize", "Int8Conv2d", "Dequantize"]


def test_a_parameter_is_an_integer_beforehand() -> None:
    product = one(lambda m, x: x * m.a.weight, a=nn.Linear(8, 8))
    assert layers(product) == ["Quantize", "Int8Mul", "Dequantize"]


def test_numbers_computed_from_shapes_are_those_of_the_example() -> None:
    single = one(lambda m, x: m.a(x).reshape(x.size(0), x.shape[1] * 2, -1), a=nn.Conv2d(4, 4, 1))
    assert single(X)[0].shape == (2, 8, 32)
    assert calls(single) == [ops.reshape]


def test_numbers_computed_from_values_are_unknown() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.a(x).reshape(x.sum().isnan().int().item() + 2, -1)  # type: ignore[no-any-return]

    conv, reshape = singles(code, a=nn.Conv2d(4, 4, 1))
    assert conv is not None
    assert reshape is None


def test_neither_observers_nor_parameters_change() -> None:
    gm = prepared(Written(lambda m, x: F.silu(m.a(x)), a=nn.Conv2d(4, 4, 1)), X)
    before, graph = copy.deepcopy(gm.state_dict()), str(gm.graph)
    (unit,) = units_of(gm)
    single = alone(gm, unit)
    assert single is not None
    code = str(single.graph)
    in_int8(single)
    assert (str(single.graph), str(gm.graph)) == (code, graph)
    assert list(before) == list(gm.state_dict())
    assert all(torch.equal(tensor, gm.state_dict()[name]) for name, tensor in before.items())


def test_equal_units_have_equal_signatures() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.d(m.c(m.b(m.a(x))))  # type: ignore[no-any-return]

    convs = {name: nn.Conv2d(4, 4, size, padding=size // 2) for name, size in zip("abcd", (1, 1, 3, 1), strict=True)}
    convs["d"].bias = None
    a, b, c, d = (signature(single) for single in singles(code, **convs) if single is not None)
    assert a == b
    assert len({a, c, d}) == 3


@pytest.mark.parametrize("operands", ["one", "two"])
def test_a_signature_tells_how_many_tensors_go_in(operands: str) -> None:
    single = one(lambda m, x: F.avg_pool2d(x, 1) * (F.avg_pool2d(x, 1) if operands == "two" else 1.0 * x))
    same = one(lambda m, x: (lambda y: y * y)(F.avg_pool2d(x, 1)))
    assert signature(single) != signature(same)
