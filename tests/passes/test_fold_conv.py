from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.fold_conv import fold_conv
from graphs import X, Y, Z, arguments_of, calls, graph_of, int8, run_pass, uint8, weight_qparams

from fxquant import ops
from fxquant.qparams import Requantize, Residual

SCALE = torch.tensor([0.002, 0.001, 0.004, 0.003])
BIAS = torch.tensor([0.5, -1.0, 0.0, 0.3])


def real(conv: Any, settings: dict[str, Any], x: Any, w: Any, scale: Any, b: Any) -> Any:
    return conv(ops.dequantize(x, X), ops.dequantize(w, weight_qparams(scale)), b, **settings)


IMAGES = [
    ({}, (4, 6, 3, 2)),
    ({"stride": (2, 1), "padding": (1, 3), "dilation": (1, 2)}, (4, 6, 3, 2)),
    ({"groups": 2}, (4, 3, 1, 1)),
    ({"groups": 4, "padding": (1, 1)}, (4, 1, 3, 3)),
]


@pytest.mark.parametrize(("settings", "shape"), IMAGES)
def test_a_conv2d_becomes_integers(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    gm = graph_of(
        lambda x, **p: ops.quantize(real(ops.conv2d, settings, x, **p), Y), w=int8(*shape), scale=SCALE, b=BIAS
    )
    groups = settings.get("groups", 1)
    after = run_pass(fold_conv, gm, uint8(2, shape[1] * groups, 9, 8), gives=[ops.int8_conv2d], steps=1)
    found = arguments_of(after, ops.int8_conv2d)
    top, left = settings.get("padding", (0, 0))
    assert found["padding"] == (top, left, top, left)
    assert (found["stride"], found["groups"]) == (settings.get("stride", (1, 1)), groups)
    assert found["dilation"] == settings.get("dilation", (1, 1))
    assert (found["x_zero_point"], found["output"]) == (X.zero_point, Requantize(Y.zero_point, 0, 255))
    assert after.get_buffer(found["bias"].target).tolist() == [5000, -20000, 0, 2000]


def test_a_conv1d_is_a_conv2d_of_height_one() -> None:
    settings = {"stride": (2,), "padding": (1,), "dilation": (2,), "groups": 2}
    gm = graph_of(
        lambda x, **p: ops.quantize(real(ops.conv1d, settings, x, **p), Y), w=int8(4, 3, 3), scale=SCALE, b=BIAS
    )
    after = run_pass(fold_conv, gm, uint8(2, 6, 11), gives=[ops.unsqueeze, ops.int8_conv2d, ops.squeeze], steps=1)
    found = arguments_of(after, ops.int8_conv2d)
    assert (found["stride"], found["padding"], found["dilation"]) == ((1, 2), (0, 1, 0, 1), (1, 2))
    assert after.get_buffer(found["weight"].target).shape == (4, 3, 1, 3)


@pytest.mark.parametrize(
    ("conv", "shape", "x", "r", "gives"),
    [
        (ops.conv2d, (4, 6, 3, 3), (2, 6, 7, 5), (2, 4, 5, 3), [ops.int8_conv2d]),
        (
            *(ops.conv1d, (4, 6, 3), (2, 6, 7), (2, 4, 5)),
            [ops.unsqueeze, ops.unsqueeze, ops.int8_conv2d, ops.squeeze],
        ),
    ],
)
def test_the_residual_joins_the_sum_before_its_rounding(conv: Any, shape: Any, x: Any, r: Any, gives: Any) -> None:
    def build(x: Any, r: Any, **p: Any) -> Any:
        return ops.quantize(ops.add(ops.dequantize(r, Z), real(conv, {}, x, **p)), Y)

    gm = graph_of(build, inputs=2, w=int8(*shape), scale=SCALE, b=BIAS)
    after = run_pass(fold_conv, gm, uint8(*x), uint8(*r), gives=gives, steps=1)
    params = arguments_of(after, ops.int8_conv2d)["residual_params"]
    assert params == Residual(Z.zero_point, torch.tensor(Z.scale / Y.scale).item())


def test_a_convolution_that_others_read_in_float_stays() -> None:
    def build(x: Any, **p: Any) -> Any:
        y = real(ops.conv2d, {}, x, **p)
        return ops.quantize(y, Y), y

    gm = graph_of(build, w=int8(4, 6, 1, 1), scale=SCALE, b=BIAS)
    assert calls(fold_conv(gm)) == [ops.dequantize, ops.dequantize, ops.conv2d, ops.quantize]


@pytest.mark.parametrize("residual", [False, True])
def test_a_convolution_of_volumes(residual: bool) -> None:
    settings = {"stride": (2, 1, 1), "padding": (1, 0, 2), "dilation": (1, 2, 1), "groups": 2}

    def build(x: Any, *r: Any, **p: Any) -> Any:
        y = real(ops.conv3d, settings, x, **p)
        return ops.quantize(ops.add(y, ops.dequantize(r[0], Z)) if r else y, Y)

    gm = graph_of(build, inputs=2 if residual else 1, w=int8(4, 3, 2, 2, 3), scale=SCALE, b=BIAS)
    inputs = (uint8(2, 6, 5, 5, 6), uint8(2, 4, 3, 3, 8))[: 2 if residual else 1]
    after = run_pass(fold_conv, gm, *inputs, gives=[ops.int8_conv3d], steps=1)
    found = arguments_of(after, ops.int8_conv3d)
    assert {name: found[name] for name in settings} == settings
    assert (found["residual"] is not None) == residual


TRANSPOSED = [
    (ops.conv_transpose1d, (6, 4, 3), (2, 6, 5), 1, [ops.unsqueeze, ops.int8_conv_transpose2d, ops.squeeze]),
    (ops.conv_transpose2d, (6, 4, 3, 2), (2, 6, 4, 5), 1, [ops.int8_conv_transpose2d]),
    (ops.conv_transpose2d, (6, 2, 3, 2), (2, 6, 4, 5), 2, [ops.int8_conv_transpose2d]),
    (ops.conv_transpose3d, (6, 4, 2, 3, 2), (2, 6, 2, 3, 2), 1, [ops.int8_conv_transpose3d]),
]


@pytest.mark.parametrize(("conv", "weight", "x", "groups", "gives"), TRANSPOSED)
def test_a_transposed_convolution_has_a_scale_for_each_output(
    conv: Any, weight: tuple[int, ...], x: tuple[int, ...], groups: int, gives: list[Any]
) -> None:
    dims = len(weight) - 2
    settings = {"stride": (2,) * dims, "padding": (1,) * dims, "output_padding": (1,) * dims, "groups": groups}

    def build(x: Any, w: Any, scale: Any, b: Any) -> Any:
        per_channel = weight_qparams(scale)._replace(axis=1)
        return ops.quantize(conv(ops.dequantize(x, X), ops.dequantize(w, per_channel), b, **settings), Y)

    gm = graph_of(build, w=int8(*weight), scale=SCALE[: weight[1]], b=BIAS)
    after = run_pass(fold_conv, gm, uint8(*x), gives=gives, steps=1)
    int8_op = gives[len(gives) // 2]
    found = arguments_of(after, int8_op)
    assert after.get_buffer(found["weight"].target).shape[:2] == (4, 6 // groups)
    multiplier = after.get_buffer(found["multiplier"].target)
    expected = SCALE[: weight[1]].repeat(groups) * X.scale / Y.scale
    torch.testing.assert_close(multiplier, expected.float())
