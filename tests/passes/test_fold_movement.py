from __future__ import annotations

import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fxquant.passes.fold_movement import fold_movement
from graphs import X, Y, arguments_of, calls, graph_of, run_pass, uint8
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import (
    calibrate,
    convert_fx,
    explain,
    export_onnx,
    get_default_qconfig_mapping,
    load,
    ops,
    prepare_fx,
    save,
)
from fxquant.graph.annotation import decide


def annotated(build: Callable[..., Any], inputs: int = 1) -> GraphModule:
    gm = graph_of(build, inputs)
    for node in gm.graph.nodes:
        decide(node, int8=True)
    return gm


MOVES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "flatten": (ops.flatten, lambda x: ops.flatten(x, 1)),
    "reshape": (ops.reshape, lambda x: ops.reshape(x, (2, -1))),
    "permute": (ops.permute, lambda x: ops.permute(x, (0, 2, 3, 1))),
    "squeeze": (ops.squeeze, lambda x: ops.squeeze(x, (3,))),
    "unsqueeze": (ops.unsqueeze, lambda x: ops.unsqueeze(x, 2)),
    "getitem": (ops.getitem, lambda x: ops.getitem(x, (slice(None), slice(1, 3), 0))),
    "pad": (ops.int8_pad, lambda x: ops.pad(x, (1, 2))),
    "pad reflect": (ops.pad, lambda x: ops.pad(x, (1, 0, 2, 1), "reflect")),
    "pad replicate": (ops.pad, lambda x: ops.pad(x, (1, 0, 2, 1), "replicate")),
    "pixel_shuffle": (ops.pixel_shuffle, lambda x: ops.pixel_shuffle(x, 2)),
    "pixel_unshuffle": (ops.pixel_unshuffle, lambda x: ops.pixel_unshuffle(x, 2)),
    "cat": (ops.cat, lambda x: ops.cat((x, x), 1)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moving_commutes_with_dequantize(name: str) -> None:
    op, move = MOVES[name]
    gm = annotated(lambda x: move(ops.dequantize(x, X)))
    run_pass(fold_movement, gm, uint8(2, 4, 6, 8), gives=[op, ops.dequantize])


@pytest.mark.parametrize(("value", "code"), [(0.0, 120), (0.2, 124), (-0.2, 116), (1e9, 255), (-1e9, 0)])
def test_what_pad_adds_becomes_its_integer(value: float, code: int) -> None:
    gm = fold_movement(annotated(lambda x: ops.pad(ops.dequantize(x, X), (1, 0), "constant", value)))
    assert arguments_of(gm, ops.int8_pad)["value_code"] == code
    assert gm(uint8(2, 3))[:, 0].tolist() == pytest.approx([(code - X.zero_point) * X.scale] * 2)


@pytest.mark.parametrize(
    ("op", "cut"), [(ops.chunk, lambda x: ops.chunk(x, 2, 1)), (ops.split, lambda x: ops.split(x, (1, 3), 1))]
)
def test_every_part_gets_a_dequantize_of_its_own(op: Any, cut: Callable[[Any], Any]) -> None:
    def build(x: Any) -> Any:
        parts = cut(ops.dequantize(x, X))
        return ops.cat((ops.getitem(parts, 1), ops.getitem(parts, 0)), 1)

    run_pass(
        fold_movement, annotated(build), uint8(2, 4, 3), gives=[op, ops.getitem, ops.getitem, ops.cat, ops.dequantize]
    )


def test_a_concatenation_of_other_qparams_stays_float() -> None:
    gm = annotated(lambda x, y: ops.cat((ops.dequantize(x, X), ops.dequantize(y, Y)), 0), inputs=2)
    run_pass(fold_movement, gm, uint8(2, 3), uint8(1, 3), gives=[ops.dequantize, ops.dequantize, ops.cat])


def test_a_movement_that_stays_float_is_left_alone() -> None:
    gm = graph_of(lambda x: ops.flatten(ops.dequantize(x, X), 1))
    assert calls(fold_movement(gm)) == [ops.dequantize, ops.flatten]


def test_the_float_value_is_still_there_for_other_users() -> None:
    def build(x: Any) -> Any:
        real = ops.dequantize(x, X)
        return operator.add(ops.flatten(real, 1), 1.0), real

    gm = annotated(build)
    x = uint8(2, 3, 4)
    flat, real = fold_movement(gm)(x)
    assert torch.equal(flat, real.flatten(1) + 1)


class SamePadding(nn.Module):
    """As TensorFlow pads: by what the image's size and the stride leave over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        h, w = (max((math.ceil(size / 2) - 1) * 2 + 3 - size, 0) for size in y.shape[-2:])
        y = F.pad(y, [w // 2, w - w // 2, h // 2, h - h // 2])
        return self.second(y)


def test_amounts_of_a_pad_may_be_found_while_the_model_runs(tmp_path: Path) -> None:
    model, x = SamePadding().eval(), torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x]))
    assert [row.op for row in explain(quantized).rows if row.precision == "float"] == []
    save(quantized, tmp_path / "model")
    loaded = load(tmp_path / "model")
    for size in ((9, 8), (8, 9), (12, 7)):
        x = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1)).clamp(x.min(), x.max())
        torch.testing.assert_close(quantized(x), model(x), atol=0.06, rtol=0)
        assert torch.equal(loaded(x), quantized(x))


def test_they_are_constants_in_onnx(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, x = SamePadding().eval(), torch.randn(2, 3, 9, 8)
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x]))
    export_onnx(quantized, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), quantized(x), atol=1e-4, rtol=0)
