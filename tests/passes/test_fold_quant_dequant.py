from __future__ import annotations

from typing import Any

import torch
from fxquant.passes.fold_quant_dequant import fold_quant_dequant
from graphs import X, Y, calls, graph_of, node_of, run_pass

from fxquant import ops
from fxquant.qparams import CODES, QParams


def test_a_pair_of_the_same_qparams_vanishes() -> None:
    run_pass(fold_quant_dequant, graph_of(lambda x: ops.quantize(ops.dequantize(x, X), X)), CODES, gives=[])


def test_narrower_bounds_are_another_mapping() -> None:
    relu = X._replace(quant_min=X.zero_point)
    gm = graph_of(lambda x: ops.quantize(ops.dequantize(x, X), relu))
    after = run_pass(fold_quant_dequant, gm, CODES, gives=[ops.lookup])
    assert torch.equal(after(CODES), CODES.clamp(min=X.zero_point))


def test_other_qparams_become_a_table() -> None:
    after = run_pass(
        fold_quant_dequant,
        graph_of(lambda x: ops.quantize(ops.dequantize(x, X), Y)),
        CODES,
        gives=[ops.lookup],
    )
    table = after.state_dict()["table"]
    assert (table.shape, table.dtype) == ((256,), torch.uint8)
    assert (table[X.zero_point], table[X.zero_point + 3]) == (Y.zero_point, Y.zero_point + 5)


def test_chains_end_in_one_mapping_each() -> None:
    def build(x: Any) -> Any:
        return ops.quantize(ops.dequantize(ops.quantize(ops.dequantize(x, X), X), X), Y)

    run_pass(fold_quant_dequant, graph_of(build), CODES, gives=[ops.lookup])


def test_a_mapping_a_channel_is_refused() -> None:
    def build(x: Any, scale: Any) -> Any:
        return ops.quantize(ops.dequantize(x, QParams(scale, 3, axis=1)), X)

    after = fold_quant_dequant(graph_of(build, scale=torch.tensor([0.1, 0.2])))
    assert calls(after) == [ops.dequantize, ops.quantize]
    assert node_of(after, ops.quantize).meta["refusals"] == ["Remap: a table holds one mapping, not one a channel"]
