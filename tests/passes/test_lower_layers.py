from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.lower_layers import lower_layers
from graphs import Written, X, Y, calls, graph_of, int8, uint8
from torch import nn

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, ops, prepare_fx
from fxquant.qparams import Requantize, Residual
from fxquant.runtime import layers
from fxquant.runtime.layer import LAYERS, Layer

R = Requantize(90, 3, 250)
CONV = ((1, 1), (1, 1, 1, 1), (1, 1))
CASES: dict[str, tuple[type[Layer], Any, tuple[Any, ...]]] = {
    "conv": (
        layers.Int8Conv2d,
        lambda x, **p: ops.int8_conv2d(x, p["w"], p["b"], p["m"], 120, R, *CONV, 1),
        ((2, 3, 6, 5),),
    ),
    "linear": (
        layers.Int8Linear,
        lambda x, r, **p: ops.int8_linear(x, p["matrix"], p["b"], p["m"], 9, R, r, Residual(7, 0.5)),
        ((2, 27), (2, 4)),
    ),
    "add": (layers.Int8Add, lambda x, y, **p: ops.int8_add(x, y, 0.7, 1.3, 4, 5, R), ((2, 9), (2, 1))),
    "mul": (layers.Int8Mul, lambda x, y, **p: ops.int8_mul(x, y, 0.01, 4, 5, R), ((2, 9), (2, 9))),
    "lookup": (layers.Lookup, lambda x, **p: ops.lookup(x, p["table"]), ((2, 9),)),
    "max_pool": (
        layers.Int8MaxPool2d,
        lambda x, **p: ops.int8_max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2), True),
        ((2, 3, 8, 7),),
    ),
    "avg_pool": (
        layers.Int8AvgPool2d,
        lambda x, **p: ops.int8_avg_pool2d(x, (3, 2), (2, 1), (1, 0), True, False, None, 0.9, 7, R),
        ((2, 3, 8, 7),),
    ),
    "adaptive_avg_pool": (
        layers.Int8AdaptiveAvgPool2d,
        lambda x, **p: ops.int8_adaptive_avg_pool2d(x, (None, 3), 0.9, 7, R),
        ((2, 3, 8, 7),),
    ),
    "nearest": (
        layers.Int8InterpolateNearest,
        lambda x, **p: ops.int8_interpolate_nearest(x, None, (1.5, 2.0)),
        ((2, 3, 8, 7),),
    ),
    "bilinear": (
        layers.Int8InterpolateBilinear,
        lambda x, **p: ops.int8_interpolate_bilinear(x, (5, 9), None, True, 120),
        ((2, 3, 8, 7),),
    ),
    "quantize": (layers.Quantize, lambda x, **p: ops.quantize(x, X), ((2, 3, 8, 7),)),
    "dequantize": (layers.Dequantize, lambda x, **p: ops.dequantize(x, Y), ((2, 3, 8, 7),)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_computes_what_the_op_means(name: str) -> None:
    kind, build, shapes = CASES[name]
    inputs = [9 * torch.randn(shape) if name == "quantize" else uint8(*shape) for shape in shapes]
    tensors = {
        "w": int8(4, 3, 3, 3),
        "matrix": int8(4, 27),
        "b": torch.randint(-999, 999, (4,), dtype=torch.int32),
        "m": torch.rand(4) / 99,
        "table": uint8(256),
    }
    gm = graph_of(build, len(inputs), **tensors)
    expected = gm(*inputs)
    lowered = lower_layers(gm)
    assert [type(m) for m in lowered.modules() if isinstance(m, Layer)] == [kind]
    assert not [target for target in calls(lowered) if target in LAYERS]
    result = lowered(*inputs)
    assert result.dtype is expected.dtype
    assert torch.equal(result, expected)


def test_every_integer_op_has_a_layer() -> None:
    kinds = ("int8_", "rows_", "dynamic_", "weight_only_", "float_", "mask_")
    integer = {getattr(ops, name) for name in dir(ops) if name.startswith(kinds)}
    assert set(LAYERS) == {*integer, ops.lookup, ops.quantize, ops.dequantize}


def test_layers_stand_where_the_users_modules_stood() -> None:
    def code(m: Any, x: Any) -> Any:
        y = m.body(x)
        return m.body(y + m.gate(y) * y)

    body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU())
    model = Written(code, body=body, gate=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Sigmoid()))
    x = torch.randn(2, 4, 5, 5)
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    layers = {name.removeprefix("int8."): m for name, m in quantized.named_modules() if isinstance(m, Layer)}
    found = {name: type(m).__name__ for name, m in layers.items()}
    assert found == {
        "quantize": "Quantize",
        "body.0": "Int8Conv2d",
        "gate.0": "Int8AdaptiveAvgPool2d",
        "gate.1": "Lookup",
        "mul": "Int8Mul",
        "add": "Int8Add",
        "body.0_1": "Int8Conv2d",
        "dequantize": "Dequantize",
    }
    assert layers["gate.1"].where.startswith("gate.1 (Sigmoid")
