from __future__ import annotations

from typing import Any

import pytest
import torch
from fxquant.passes.convert_float_reads import convert_float_reads
from graphs import X, Y, Z, calls, graph_of, int8, node_of, uint8, weight_qparams
from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.annotation import decide, quant_of

WEIGHT = {"w": int8(3, 16), "b": torch.tensor([0.5, -1.0, 0.0])}


def real(x: Any, w: Any, b: Any) -> Any:
    return ops.linear(ops.dequantize(x, X), ops.dequantize(w, weight_qparams(0.002)), b)


def rounded(x: Any) -> Any:
    return ops.dequantize(ops.quantize(x, Y), Y)


def quantizes(gm: GraphModule) -> bool:
    return ops.quantize in calls(gm)


@pytest.mark.parametrize("act", [lambda x: x, ops.relu, lambda x: ops.clamp(x, -0.5, 1.0)])
def test_what_the_model_returns_is_not_rounded(act: Any) -> None:
    gm = graph_of(lambda x, **p: rounded(act(real(x, **p))), **WEIGHT)
    x = uint8(5, 16)
    expected = graph_of(lambda x, **p: act(real(x, **p)), **WEIGHT)(x)
    after = convert_float_reads(gm)
    assert not quantizes(after)
    assert torch.equal(after(x), expected)


@pytest.mark.parametrize("act", [lambda x: x, ops.relu, lambda x: ops.clamp(x, -0.5, 1.0)])
def test_what_was_trained_saturates_as_in_training(act: Any) -> None:
    gm = graph_of(lambda x, **p: rounded(act(real(x, **p))), **WEIGHT)
    gm.meta["trains"] = True
    x = torch.cat([uint8(100, 16), torch.full((1, 16), 255).byte(), torch.zeros(1, 16).byte()])
    trained = gm(x)
    exact = graph_of(lambda x, **p: act(real(x, **p)), **WEIGHT)(x)
    within = (exact > trained.min()) & (exact < trained.max())
    after = convert_float_reads(gm)
    assert not quantizes(after)
    assert (after(x) - trained).abs().max() <= 0.501 * Y.scale
    assert torch.equal(after(x)[within], exact[within])


def test_nor_is_what_an_op_reads_that_stays_float() -> None:
    gm = graph_of(lambda x, **p: ops.gelu(rounded(real(x, **p))), **WEIGHT)
    decide(node_of(gm, ops.gelu), int8=False, reason="no kernel")
    assert not quantizes(convert_float_reads(gm))


def test_depthwise_kernels_give_integers_only() -> None:
    def build(x: Any, w: Any) -> Any:
        real = ops.conv2d(ops.dequantize(x, X), ops.dequantize(w, weight_qparams(0.002)), groups=4)
        return rounded(real)

    assert quantizes(convert_float_reads(graph_of(build, w=int8(4, 1, 3, 3))))
    assert not quantizes(convert_float_reads(graph_of(build, w=int8(4, 2, 3, 3))))


def summed(x: Any, act: Any = lambda y: y, **p: Any) -> Any:
    return rounded(act(ops.add(rounded(real(x, **p)), ops.dequantize(x[:, :3], X))))


@pytest.mark.parametrize("act", [lambda x: x, ops.relu])
def test_nor_is_a_sum_that_a_float_layer_reads_or_what_it_alone_reads(act: Any) -> None:
    last = torch.rand(2, 3)
    gm = graph_of(lambda x, last, **p: ops.linear(summed(x, act, **p), last), last=last, **WEIGHT)
    decide([node for node in gm.graph.nodes if node.target is ops.linear][-1], int8=False, reason="a wish")
    x = uint8(5, 16)
    expected = graph_of(lambda x, **p: act(ops.add(real(x, **p), ops.dequantize(x[:, :3], X))), **WEIGHT)(x) @ last.T
    after = convert_float_reads(gm)
    assert not quantizes(after)
    assert torch.equal(after(x), expected)
    assert quant_of(node_of(after, ops.add)).reason == "only layers that stay float read it: linear_1"


def test_other_float_ops_do_not_draw_a_sum_out_of_int8() -> None:
    gm = graph_of(lambda x, **p: ops.gelu(summed(x, ops.relu, **p)), **WEIGHT)
    decide(node_of(gm, ops.gelu), int8=False, reason="no kernel")
    assert quantizes(convert_float_reads(gm))


def both(x: Any, **p: Any) -> Any:
    y = rounded(real(x, **p))
    return y, ops.softmax(y, -1)


def twice(x: Any, **p: Any) -> Any:
    y = real(x, **p)
    return rounded(y), y


@pytest.mark.parametrize(
    "build",
    [
        both,
        twice,
        lambda x, **p: ops.dequantize(ops.quantize(real(x, **p), Y), Z),
        lambda x, **p: rounded(ops.sigmoid(real(x, **p))),
        lambda x, **p: rounded(ops.linear(x, p["w"], p["b"])),
        lambda x, **p: ops.quantize(real(x, **p), Y),
    ],
    ids=["an int8 op reads it too", "so is the sum", "other qparams", "another op", "a float op", "integers returned"],
)
def test_what_else_there_is_stays_rounded(build: Any) -> None:
    gm = graph_of(build, **WEIGHT)
    before = calls(gm)
    assert calls(convert_float_reads(gm)) == before
