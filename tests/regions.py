"""Quantized models and their regions, and what the tests of the runtime ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from fxquant import QConfigMapping, calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.graph.extract import inlined
from fxquant.runtime.plan import Plan
from fxquant.runtime.quantized_module import QuantizedModule
from fxquant.runtime.region import Int8Region


def quantized(model: nn.Module, *inputs: Tensor, mapping: QConfigMapping | None = None) -> QuantizedModule:
    """`model` in int8, calibrated on `inputs`."""
    prepared = prepare_fx(model.eval(), mapping or get_default_qconfig_mapping(), inputs)
    return convert_fx(calibrate(prepared, [inputs], progress=False))


def regions_of(gm: GraphModule) -> dict[str, Int8Region]:
    return {name: module for name, module in gm.named_modules() if isinstance(module, Int8Region)}


def region_of(gm: GraphModule) -> Int8Region:
    """The one region of a model."""
    (region,) = regions_of(gm).values()
    return region


def plan_of(gm: GraphModule, *inputs: Tensor) -> Plan:
    """The plan of the one region of a model that hands its inputs to it."""
    return region_of(gm).plan(*inputs)


def kernels_of(plan: Plan) -> list[str]:
    return [call.kernel for call in plan.calls]


def node_by_node(gm: GraphModule, *inputs: Any) -> Any:
    """What the model computes without programs."""
    return inlined(gm, Int8Region)(*inputs)


def assert_same(result: Any, expected: Any) -> None:
    """Both have tensors of the same dtypes, shapes and elements in the same places."""
    for one, other in zip(tree_leaves(result), tree_leaves(expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def assert_planned_right(gm: GraphModule, *inputs: Any, threads: Sequence[int] = (1, 2)) -> None:
    """For each of `inputs` programs compute what the graph does node by node, also in memory that runs have left.

    An input is a tensor, or a tuple of all that the model takes.
    """
    reference, before = inlined(gm, Int8Region), torch.get_num_threads()
    for x in inputs:
        given = x if isinstance(x, tuple) else (x,)
        expected = reference(*given)
        for number in threads:
            torch.set_num_threads(number)
            for _ in range(2):
                assert_same(gm(*given), expected)
    torch.set_num_threads(before)
