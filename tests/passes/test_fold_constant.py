from __future__ import annotations

import torch
from fxquant.passes.fold_constant import fold_constant
from graphs import X, Y, calls, graph_of, run_pass, uint8

from fxquant import ops
from fxquant.qparams import Requantize, quantize


def test_a_quantized_parameter_becomes_a_buffer() -> None:
    shift = torch.randn(3, 1)
    gm = graph_of(
        lambda x, shift: ops.int8_add(x, ops.quantize(shift, Y), 1.0, 0.6, 120, 90, Requantize(120)), shift=shift
    )
    after = run_pass(fold_constant, gm, uint8(2, 3, 7), gives=[ops.int8_add])
    ((name, buffer),) = after.state_dict().items()
    assert name == "shift_int8"
    assert torch.equal(buffer, quantize(shift, Y))


def test_a_parameter_that_is_also_read_in_float_stays() -> None:
    gm = graph_of(lambda x, shift: (ops.quantize(shift, Y), ops.add(x, shift)), shift=torch.randn(3))
    after = fold_constant(gm)
    assert calls(after) == [ops.add]
    assert {name: tensor.dtype for name, tensor in after.state_dict().items()} == {
        "shift": torch.float32,
        "shift_int8": torch.uint8,
    }


def test_the_input_is_no_constant() -> None:
    assert calls(fold_constant(graph_of(lambda x: ops.quantize(x, X)))) == [ops.quantize]
