"""One integer op as a program of kernel calls, beside its own meaning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from graphs import graph_of, uint8
from regions import regions_of
from torch import Tensor

from fxquant.graph.pipeline import run_stage
from fxquant.qparams import FloatOutput, Requantize, Residual


def assert_program_computes(integer_op: Callable[..., Any], *inputs: Tensor, **constants: Any) -> None:
    """The program, in one thread and in two, and the layer node by node give the integers of the op itself."""
    tensors = {name: value for name, value in constants.items() if isinstance(value, Tensor)}
    settings = {name: value for name, value in constants.items() if not isinstance(value, Tensor)}
    names = ("x", "residual") if len(inputs) > 1 else ("x",)
    gm = graph_of(
        lambda *xs, **ts: integer_op(**dict(zip(names, xs, strict=True)), **ts, **settings), len(inputs), **tensors
    )
    for node, x in zip(gm.graph.find_nodes(op="placeholder"), inputs, strict=True):
        node.meta.update(shape=x.shape, dtype=x.dtype)
    expected = gm(*inputs)
    layers = run_stage(copy.deepcopy(gm), "lower")
    assert torch.equal(layers(*inputs), expected)
    program = run_stage(layers, "plan")
    assert len(regions_of(program)) == 1
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for _ in range(2):
            assert torch.equal(program(*inputs), expected)
    torch.set_num_threads(before)


def random_weights(random: Random, outputs: int, reduction: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """The constants of a convolution whose results lie all over uint8, or are floats; sometimes with a table."""
    weight = torch.randint(-128, 128, (outputs, *shape), dtype=torch.int8)
    spread = 74 * 74 * max(reduction, 1) ** 0.5
    found: dict[str, Any] = {
        "weight": weight,
        "bias": torch.randint(-5000, 5000, (outputs,), dtype=torch.int32),
        "multiplier": (0.5 + torch.rand(outputs)) * 60 / spread,
        "x_zero_point": random.choice((0, 128, 255, random.randint(0, 255))),
        "output": Requantize(random.randint(0, 255), random.choice((0, 3)), random.choice((255, 240))),
    }
    if random.random() < 0.25:
        found.update(bias=torch.randn(outputs), output=FloatOutput(random.choice((-math.inf, 0.0)), math.inf))
    elif random.random() < 0.3:
        found["table"] = uint8(256)
    return found


def residual_of(random: Random, y: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Now and then a residual, as an input and its constant; none for floats."""
    if random.random() < 0.7 or y.dtype is torch.float32:
        return (), {}
    return (uint8(*y.shape),), {"residual_params": Residual(random.randint(0, 255), random.uniform(0.1, 1.0))}
