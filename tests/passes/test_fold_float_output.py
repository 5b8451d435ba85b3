from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fxquant.passes.fold_float_output import fold_float_output
from graphs import X, arguments_of, calls, graph_of, int8, uint8, weight_qparams
from torch import Tensor

from fxquant import ops
from fxquant.qparams import FloatOutput

SCALE = torch.tensor([0.002, 0.001, 0.004, 0.003])
BIAS = torch.tensor([0.5, -1.0, 0.0, 0.3])


def real(op: Any, x: Any, w: Any, scale: Any, b: Any = None, axis: int = 0, **settings: Any) -> Any:
    return op(ops.dequantize(x, X), ops.dequantize(w, weight_qparams(scale)._replace(axis=axis)), b, **settings)


LAYERS = [
    (ops.linear, (4, 16), (5, 16), {}, [ops.int8_linear]),
    (ops.conv1d, (4, 6, 3), (2, 6, 7), {}, [ops.unsqueeze, ops.int8_conv2d, ops.squeeze]),
    (ops.conv2d, (4, 6, 3, 3), (2, 6, 7, 5), {"padding": (1, 1)}, [ops.int8_conv2d]),
    (ops.conv2d, (4, 1, 3, 3), (2, 4, 7, 5), {"groups": 4}, [ops.int8_conv2d]),
    (ops.conv3d, (4, 6, 3, 3, 3), (2, 6, 3, 7, 5), {}, [ops.int8_conv3d]),
    (ops.conv_transpose1d, (6, 4, 2), (1, 6, 4), {"axis": 1}, [ops.unsqueeze, ops.int8_conv_transpose2d, ops.squeeze]),
    (ops.conv_transpose2d, (6, 4, 2, 2), (1, 6, 4, 3), {"axis": 1, "stride": (2, 2)}, [ops.int8_conv_transpose2d]),
    (ops.conv_transpose3d, (6, 4, 2, 2, 2), (1, 6, 2, 4, 3), {"axis": 1}, [ops.int8_conv_transpose3d]),
]


@pytest.mark.parametrize(("op", "weight", "x", "settings", "gives"), LAYERS)
def test_what_is_not_quantized_gives_floats(
    op: Any, weight: tuple[int, ...], x: tuple[int, ...], settings: dict[str, Any], gives: list[Any]
) -> None:
    gm, codes = graph_of(lambda x, **p: real(op, x, **p, **settings), w=int8(*weight), scale=SCALE, b=BIAS), uint8(*x)
    expected: Tensor = gm(codes)
    after = fold_float_output(gm)
    assert calls(after) == gives
    found = arguments_of(after, next(op for op in gives if op.__name__.startswith("int8_")))
    assert found["output"] == FloatOutput(-math.inf, math.inf)
    assert torch.equal(after.get_buffer(found["bias"].target), BIAS)
    torch.testing.assert_close(after.get_buffer(found["multiplier"].target), X.scale * SCALE, rtol=1e-6, atol=0)
    torch.testing.assert_close(after(codes), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("act", "output"),
    [
        (ops.relu, FloatOutput(0.0, math.inf)),
        (lambda x: ops.clamp(x, -0.5, 0.25), FloatOutput(-0.5, 0.25)),
        (lambda x: ops.clamp(x, None, 1), FloatOutput(-math.inf, 1.0)),
        (lambda x: ops.clamp(x, 2, 1), FloatOutput(1.0, 1.0)),
        (lambda x: ops.clamp(ops.relu(x), -1.0, 0.5), FloatOutput(0.0, 0.5)),
        (lambda x: ops.clamp(ops.relu(x), -2.0, -1.0), FloatOutput(-1.0, -1.0)),
    ],
)
def test_bounds_move_into_the_op(act: Any, output: FloatOutput) -> None:
    gm, x = graph_of(lambda x, **p: act(real(ops.linear, x, **p)), w=int8(4, 16), scale=SCALE, b=BIAS), uint8(5, 16)
    expected = gm(x)
    after = fold_float_output(gm)
    assert arguments_of(after, ops.int8_linear)["output"] == output
    assert calls(after) == [ops.int8_linear]
    torch.testing.assert_close(after(x), expected, rtol=1e-5, atol=1e-5)


def test_computed_bounds_stay_an_op_of_their_own() -> None:
    gm = graph_of(
        lambda x, low, **p: ops.clamp(real(ops.linear, x, **p), low), inputs=2, w=int8(4, 16), scale=SCALE, b=BIAS
    )
    assert calls(fold_float_output(gm)) == [ops.int8_linear, ops.clamp]


def test_so_do_those_of_one_reader_among_several() -> None:
    def build(x: Any, **p: Any) -> Any:
        y = real(ops.linear, x, **p)
        return y, ops.relu(y)

    assert calls(fold_float_output(graph_of(build, w=int8(4, 16), scale=SCALE))) == [ops.int8_linear, ops.relu]


def test_a_minus_zero_of_the_bias_does_not_show() -> None:
    gm = graph_of(lambda x, **p: real(ops.linear, x, **p), w=int8(4, 16) * 0, scale=SCALE, b=-torch.zeros(4))
    y = fold_float_output(gm)(uint8(1, 16))
    assert not torch.signbit(y).any()
