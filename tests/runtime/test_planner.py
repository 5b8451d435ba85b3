"""Programs compute what their graph does node by node, bit for bit, wherever their operands lie."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import Written
from random_models import INPUT, RandomModel
from regions import assert_planned_right, kernels_of, plan_of, quantized, regions_of
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.errors import InputError
from fxquant.runtime import planner

IMAGES = (2, 3, 9, 8)
ROWS = (6, 12)
Case = tuple[Callable[..., Any], dict[str, nn.Module], tuple[int, ...]]


@pytest.fixture(autouse=True)
def _always_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models here are too small to deserve a second thread."""
    monkeypatch.setattr(planner, "SERIAL_WORK", 0)


def conv(i: int, o: int, kernel: int | tuple[int, int] = 1, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, **more)


def same(i: int, o: int, kernel: int = 3) -> nn.Conv2d:
    return conv(i, o, kernel, padding=kernel // 2)


def images(code: Callable[..., Any], **modules: nn.Module) -> Case:
    """code(m, y) of y, 8 channels from a convolution."""
    return (lambda m, x: code(m, m.stem(x))), {"stem": conv(3, 8, 3), **modules}, IMAGES


def rows(code: Callable[..., Any], **modules: nn.Module) -> Case:
    """code(m, y) of y, 16 features from a linear layer."""
    return (lambda m, x: code(m, m.stem(x))), {"stem": nn.Linear(12, 16), **modules}, ROWS


def dense_block(m: Any, y: Tensor) -> Tensor:
    """Each convolution reads the concatenation of all results before it."""
    for conv in (m.a, m.b, m.c):
        y = torch.cat((y, conv(y)), 1)
    return y


def dense_block_of_lists(m: Any, y: Tensor) -> Tensor:
    found = [y]
    for conv in (m.a, m.b, m.c):
        found.append(conv(torch.cat(found, 1)))
    return torch.cat(found, 1)


DENSE = {"a": same(8, 4), "b": same(12, 4), "c": same(16, 4)}


def twice_read(m: Any, y: Tensor) -> Tensor:
    a, b = m.a(y), m.b(y)
    return m.d(torch.cat((a, b), 1)) + m.c(a)  # type: ignore[no-any-return]


def shuffle(x: Tensor) -> Tensor:
    return x.view(-1, 2, 4, 7, 6).transpose(1, 2).reshape(-1, 8, 7, 6)


def shuffle_unit(m: Any, y: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    return m.b(shuffle(torch.cat((a, m.a(b)), 1)))  # type: ignore[no-any-return]


def with_self(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """function(y, y), computed once."""
    return lambda m, y: m.a(function(y, y))


def attended(x: Tensor, causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, is_causal=causal)


CASES: dict[str, Case] = {
    "cat of results": images(
        lambda m, y: m.c(torch.cat((m.a(y), m.b(y)), 1)), a=same(8, 5), b=conv(8, 3, 3, padding=1), c=same(8, 4)
    ),
    "cat nested": images(
        lambda m, y: m.c(torch.cat((torch.cat((m.a(y), m.b(y)), 1), m.a(y)), 1)),
        a=conv(8, 5),
        b=conv(8, 3),
        c=same(13, 4),
    ),
    "cat of one piece twice": images(lambda m, y: m.a(torch.cat((y, y), 1)), a=same(16, 4)),
    "cat of a piece read elsewhere": images(twice_read, a=conv(8, 5), b=conv(8, 3), c=conv(5, 8), d=conv(8, 8)),
    "cat of a piece that is a result": images(
        lambda m, y: (lambda a: (m.b(torch.cat((a, y), 1)), a))(m.a(y)), a=conv(8, 5), b=same(13, 4)
    ),
    "cat of a piece of two": images(
        lambda m, y: (lambda a: (m.b(torch.cat((a, y), 1)), m.b(torch.cat((y, a), 1))))(m.a(y)),
        a=conv(8, 5),
        b=same(13, 4),
    ),
    "cat as a result": images(lambda m, y: torch.cat((m.a(y), F.silu(m.a(y))), 1), a=conv(8, 5)),
    "cat of cats": images(dense_block, **DENSE),
    "cat of lists": images(dense_block_of_lists, **DENSE),
    "cat of rows of images": images(lambda m, y: m.b(torch.cat((m.a(y), y, m.a(y)), 2)), a=same(8, 8), b=same(8, 4)),
    "cat of columns of images": images(lambda m, y: m.b(torch.cat((m.a(y), y), 3)), a=same(8, 8), b=same(8, 4)),
    "cat of batches": images(lambda m, y: m.b(torch.cat((m.a(y), y, m.a(m.a(y))), 0)), a=same(8, 8), b=same(8, 4)),
    "cat of matrices": rows(
        lambda m, y: m.b(torch.cat((m.a(y), y, m.a(y)), 1)), a=nn.Linear(16, 5), b=nn.Linear(26, 3)
    ),
    "cat of rows": rows(lambda m, y: m.a(torch.cat((m.a(y), y), 0)), a=nn.Linear(16, 16)),
    "cat of different layouts": images(
        lambda m, y: m.b(torch.cat((m.a(y), m.a(y)[..., :6].transpose(2, 3)[..., :6]), 2)), a=same(8, 8), b=same(8, 4)
    ),
    "cat of single channels": images(
        lambda m, y: m.c(torch.cat((m.a(y), m.b(y), y), 1)), a=conv(8, 1), b=same(8, 1), c=same(10, 4)
    ),
    "cat of pooled images": images(
        lambda m, y: m.a(torch.cat((y.mean((2, 3), True), F.max_pool2d(y, (7, 6))), 1)), a=conv(16, 4)
    ),
    "cat with nothing": images(lambda m, y: m.a(torch.cat((y, y[:, :0]), 1)), a=same(8, 4)),
    "cat of four-dimensional linears": images(
        lambda m, y: m.b(torch.cat((m.a(y), m.a(y * y)), 1)), a=nn.Linear(6, 5), b=nn.Linear(5, 4)
    ),
    "chunk": images(lambda m, y: m.a(y.chunk(2, 1)[1] * y.chunk(2, 1)[0]), a=same(4, 4)),
    "chunk as results": images(lambda m, y: y.chunk(3, 1)),
    "split": images(lambda m, y: m.a(y.split([3, 5], 1)[1]), a=same(5, 4)),
    "split of rows": images(lambda m, y: m.a(F.silu(y.split(2, 2)[1])), a=same(8, 4)),
    "channel shuffle": images(lambda m, y: m.a(shuffle(y)), a=same(8, 4)),
    "shuffle unit": images(shuffle_unit, a=same(4, 4), b=same(8, 4)),
    "flatten of images": images(lambda m, y: m.a(y.flatten(1)), a=nn.Linear(336, 5)),
    "permute into a linear": images(lambda m, y: m.a(y.permute(0, 2, 3, 1)), a=nn.Linear(8, 5)),
    "permute and back": images(
        lambda m, y: m.b(m.a(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)), a=nn.Linear(8, 5), b=same(5, 4)
    ),
    "linear over columns into a convolution": images(lambda m, y: m.b(m.a(y)), a=nn.Linear(6, 5), b=same(8, 4)),
    "squeeze and unsqueeze": images(lambda m, y: m.a(y[:, :, 1].unsqueeze(3)), a=conv(8, 4)),
    "residual": images(lambda m, y: m.b(y + m.a(y) + m.c(y)), a=same(8, 8), b=same(8, 4), c=conv(8, 8)),
    "residual read later": images(
        lambda m, y: (lambda z: m.b(m.a(y) + z) + z)(m.c(y)), a=same(8, 8), b=same(8, 8), c=conv(8, 8)
    ),
    "residual of its own input": images(lambda m, y: m.b(F.relu(m.a(y) + y)), a=conv(8, 8), b=same(8, 4)),
    "residual of its own input, wide": images(
        lambda m, y: (lambda z: m.b(z) + z)(m.a(y)), a=conv(8, 160), b=conv(160, 160)
    ),
    "residual of its own rows, wide": rows(
        lambda m, y: (lambda z: m.b(z) + z)(m.a(y)), a=nn.Linear(16, 300), b=nn.Linear(300, 300)
    ),
    "residual that is a slice": images(lambda m, y: m.b(m.a(y) + y[:, 2:6]), a=same(8, 4), b=same(4, 4)),
    "residual in a cat": images(lambda m, y: m.b(torch.cat((m.a(y) + y, y), 1)), a=same(8, 8), b=same(16, 4)),
    "depthwise residual": images(lambda m, y: m.b(m.a(y) + y), a=conv(8, 8, 3, padding=1, groups=8), b=same(8, 4)),
    "lookup with a halo": images(lambda m, y: m.a(torch.tanh(F.max_pool2d(y, 2))), a=same(8, 4)),
    "lookup of a pool": images(lambda m, y: m.a(torch.tanh(F.max_pool2d(y, 2))), a=conv(8, 4)),
    "lookup of what is read later": images(lambda m, y: m.a(torch.tanh(y) + y), a=same(8, 4)),
    "lookup per channel": images(lambda m, y: m.a(m.b(F.max_pool2d(y, 2))), a=same(8, 4), b=nn.PReLU(8)),
    "square": images(with_self(torch.mul), a=same(8, 4)),
    "product with a channel of itself": images(with_self(lambda x, y: x * y[:, :1]), a=same(8, 4)),
    "product of a channel with itself": images(with_self(lambda x, y: y[:, 2:3] * x), a=same(8, 4)),
    "sum with itself transposed": images(
        lambda m, y: m.a((lambda z: z + z.transpose(2, 3))(y[:, :, :6])), a=same(8, 4)
    ),
    "sum with a row of itself": images(with_self(lambda x, y: y[:, :, :1] + x), a=same(8, 4)),
    "squeeze and excite": images(
        lambda m, y: m.b(y * torch.sigmoid(m.a(y.mean((2, 3), True)))), a=conv(8, 8), b=conv(8, 4)
    ),
    "asymmetric padding": images(
        lambda m, y: m.b(m.a(y)), a=conv(8, 8, (2, 4), padding="same"), b=conv(8, 4, (1, 5), padding=(0, 2))
    ),
    "dilation": images(
        lambda m, y: m.b(m.a(y)),
        a=conv(8, 8, 3, padding=2, dilation=2),
        b=conv(8, 4, 3, padding=(3, 0), dilation=(3, 1)),
    ),
    "different padding of one tensor": images(
        lambda m, y: m.a(y) + m.b(y) + m.c(y) + m.d(y),
        a=same(8, 4),
        b=same(8, 4, 5),
        c=conv(8, 4),
        d=conv(8, 4, (3, 1), padding=(1, 0)),
    ),
    "a pool reads a padded tensor": images(
        lambda m, y: m.a(y)[:, :, 1:, 1:] + m.a(F.max_pool2d(y, 2, 1)), a=same(8, 4)
    ),
    "everything reads a padded tensor": images(
        lambda m, y: m.a(y) + F.avg_pool2d(y, 3, 1, 1) + m.b(y) + torch.tanh(y),
        a=same(8, 8),
        b=conv(8, 8, 5, padding=2, groups=8),
    ),
    "a result is also padded": images(lambda m, y: (y, m.a(y)), a=same(8, 4)),
    "padding of single channels": images(lambda m, y: m.b(m.a(y)), a=conv(8, 1), b=same(1, 4)),
    "strided stem with padding": (
        lambda m, x: m.b(F.max_pool2d(m.a(x), 3, 2, 1)),
        {"a": conv(3, 8, 3, stride=2, padding=1), "b": same(8, 4)},
        IMAGES,
    ),
    "pad": images(lambda m, y: m.a(F.pad(y, (1, 2, 3, 0), value=0.4)), a=same(8, 4)),
    "crop": images(lambda m, y: m.a(F.pad(y, (-1, 2, 1, -2))), a=same(8, 4)),
    "resize": images(
        lambda m, y: m.a(F.interpolate(y, scale_factor=2)) + m.a(F.interpolate(y, (14, 12), mode="bilinear")),
        a=same(8, 4),
    ),
    "resize of a slice": images(
        lambda m, y: m.a(F.interpolate(y[:, 1:4], (5, 9), mode="bilinear", align_corners=True)), a=same(3, 4)
    ),
    "pools": images(
        lambda m, y: m.a(F.adaptive_avg_pool2d(F.avg_pool2d(y, 3, 1, ceil_mode=True), (3, 2))), a=same(8, 4)
    ),
    "depthwise of rows": images(
        lambda m, y: m.b(m.a(y)),
        a=conv(8, 8, (1, 5), padding=(0, 2), groups=8),
        b=conv(8, 8, (5, 1), padding=(2, 0), groups=8),
    ),
    "grouped": images(
        lambda m, y: m.b(m.a(y)), a=conv(8, 12, 3, padding=1, groups=4), b=conv(12, 24, 3, padding=1, groups=12)
    ),
    "pixel shuffle": images(lambda m, y: m.a(F.pixel_shuffle(y, 2)), a=same(2, 4)),
    "pixel shuffle of rows": images(lambda m, y: m.a(F.pixel_shuffle(m.b(y), 2)), a=same(2, 4), b=nn.Linear(6, 5)),
    "pixel unshuffle": images(lambda m, y: m.a(F.pixel_unshuffle(y[:, :, 1:], 2)), a=same(32, 4)),
    "pixel shuffle and back": images(lambda m, y: F.pixel_unshuffle(m.a(F.pixel_shuffle(y, 2)), 2), a=same(2, 2)),
    "flip": images(lambda m, y: m.a(y.flip(2, 3)), a=same(8, 4)),
    "flip of the batch": images(lambda m, y: m.a(y.flip(0)[:, :, 2:]), a=same(8, 4)),
    "flip of rows": rows(lambda m, y: m.a(y.flip(1)), a=nn.Linear(16, 4)),
    "roll": images(lambda m, y: m.a(y.roll((2, -1), (2, 3))), a=same(8, 4)),
    "roll by more than all": images(lambda m, y: m.a(y.roll((9, -14, 8, 3), (2, 2, 1, 0))), a=same(8, 4)),
    "roll of windows": images(
        lambda m, y: m.a(y.permute(0, 2, 3, 1).roll((-1, -1), (1, 2)).permute(0, 3, 1, 2)), a=same(8, 4)
    ),
    "expand": images(lambda m, y: m.a(y.mean((2, 3), True).expand(-1, -1, 5, 4) + y[:, :, 1:6, 1:5]), a=same(8, 4)),
    "expand into a convolution": images(lambda m, y: m.a(y[:, 1:2, 2:3].expand(-1, 8, 9, -1)), a=same(8, 4)),
    "expand of a table's result": images(lambda m, y: m.a(torch.tanh(y[:, :1].expand(-1, 8, -1, -1))), a=same(8, 4)),
    "repeat": images(lambda m, y: m.a(y.repeat(1, 2, 1, 3)), a=same(16, 4)),
    "repeat of the batch": images(lambda m, y: m.a(y.repeat(2, 1, 1, 1)), a=same(8, 4)),
    "repeat into more dimensions": rows(lambda m, y: m.a(y.repeat(3, 1, 2)), a=nn.Linear(32, 4)),
    "repeat_interleave": images(lambda m, y: m.a(y.repeat_interleave(2, 2)), a=same(8, 4)),
    "unbind": images(lambda m, y: m.a(torch.stack([torch.tanh(y.unbind(2)[i]) for i in (3, 0, 1)], 2)), a=same(8, 4)),
    "unflatten": images(lambda m, y: m.a(y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)), a=same(8, 4)),
    "reflected border": images(lambda m, y: m.a(F.pad(y, (1, 2, 3, 0), mode="reflect")), a=same(8, 4)),
    "replicated border": images(lambda m, y: m.a(F.pad(y, (9, 0, 1, 2), mode="replicate")), a=conv(8, 4, 3)),
    "circular border": images(lambda m, y: m.a(F.pad(y, (6, 1, 0, 2), mode="circular")), a=conv(8, 4, 3)),
    "border of a sequence": rows(lambda m, y: m.a(F.pad(y, (3, 1), mode="reflect")), a=nn.Linear(20, 4)),
    "attention": images(lambda m, y: m.a(F.scaled_dot_product_attention(y, y.flip(2), y.roll(1, 3))), a=same(8, 4)),
    "attention between pixels": images(
        lambda m, y: m.a(attended(y.flatten(2).transpose(1, 2).unflatten(2, (2, 4)).transpose(1, 2), True)),
        a=same(2, 4),
    ),
    "attention between slices": images(
        lambda m, y: m.a(F.scaled_dot_product_attention(y[..., 1::2], y[:, :, :5, ::2], y[:, :, 2:7])), a=same(8, 4)
    ),
    "attention of a sequence": rows(lambda m, y: m.a(attended(y, False)), a=nn.Linear(16, 4)),
    "products of transposed matrices": images(lambda m, y: (m.a(y.mT @ y), m.b(y @ y.mT)), a=same(8, 4), b=same(8, 4)),
    "a product that broadcasts": images(lambda m, y: m.a(y[:, :1] @ y.flip(1).mT), a=same(8, 4)),
    "softmax of rows and channels": images(
        lambda m, y: m.a(torch.softmax(y[:, :, 1:], 1)) + m.a(torch.log_softmax(y[:, :, 1:], -1)), a=same(8, 4)
    ),
    "softmax of the batch": images(lambda m, y: m.a(torch.softmax(y, 0)), a=same(8, 4)),
    "norm of rows of an image": images(lambda m, y: m.a(F.layer_norm(y, (6,)) + y), a=same(8, 4)),
    "norm of transposed rows": images(lambda m, y: m.a(F.rms_norm(y.mT, (6, 7), eps=0.1)), a=same(8, 4)),
    "norm of groups": images(
        lambda m, y: m.a(F.group_norm(y[:, 2:], 3)) + m.a(F.instance_norm(y[:, :6])), a=same(6, 4)
    ),
    "norm of groups of rows": rows(lambda m, y: m.a(F.group_norm(y, 4)), a=nn.Linear(16, 4)),
    "several results": images(lambda m, y: (y, m.a(y), y.flatten(1), m.a(y)[:, 1:]), a=same(8, 4)),
    "a result twice": images(lambda m, y: (y, y)),
    "the boundary alone": images(lambda m, y: F.relu(y)),
}


@pytest.mark.parametrize("name", CASES)
def test_planned_equals_node_by_node(name: str) -> None:
    code, modules, shape = CASES[name]
    model = quantized(Written(code, **modules), torch.randn(shape))
    assert len(regions_of(model)) == 1
    assert_planned_right(model, torch.randn(shape), torch.randn(1, *shape[1:]))


@pytest.mark.parametrize("seed", range(4))
def test_random_models(seed: int) -> None:
    model = quantized(RandomModel(seed), torch.randn(INPUT))
    assert_planned_right(model, *(torch.randn(batch, *INPUT[1:]) for batch in (2, 3, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_random_models_on_every_isa(seed: int, isa: str) -> None:
    model = quantized(RandomModel(seed, length=16), torch.randn(INPUT))
    assert_planned_right(model, *(torch.randn(batch, *INPUT[1:]) for batch in (2, 3, 1)))


def test_other_sizes_than_the_examples_on_every_isa(isa: str) -> None:
    """Down to convolutions over a single row, where halos are all that lies beside it."""
    code, modules, shape = CASES["everything reads a padded tensor"]
    model = quantized(Written(code, **modules), torch.randn(shape))
    assert_planned_right(model, *(torch.randn(2, 3, *size) for size in ((11, 17), (3, 5), (5, 3), (3, 3))))


def test_a_border_wider_than_the_image_names_the_place() -> None:
    code, modules, shape = CASES["reflected border"]
    model = quantized(Written(code, **modules), torch.randn(shape))
    with pytest.raises(InputError, match=r"[Pp]adding size should be less"):
        model(torch.randn(2, 3, 5, 8))


@pytest.mark.slow
def test_planning_imports_neither_torchs_compiler_nor_sympy() -> None:
    """torch's own functions for tensors without memory do, which takes a second or two."""
    code = """
import sys, torch
from torch import nn
from torch.nn import functional as F
from regions import quantized, regions_of
from graphs import Written

def code(m, x):
    y = torch.cat((m.a(x), m.b(x)), 1).roll(1, 2).flip(3)
    y = F.pad(F.pixel_unshuffle(F.pixel_shuffle(y, 2), 2), (1, 1, 1, 1), mode="reflect")
    return (torch.tanh(m.c(y)) + m.c(y)).flatten(1)

x = torch.randn(1, 3, 6, 6)
model = quantized(Written(code, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), c=nn.Conv2d(8, 4, 3)), x)
model(x)
assert len(regions_of(model)) == 1
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def layouts(x: Tensor) -> dict[str, Tensor]:
    """`x` [N, C, H, W] with other strides."""
    n, c, h, w = x.shape
    wide = torch.randn(n, c + 2, h + 1, w * 2)
    wide[:, 1:-1, :-1, ::2] = x
    return {
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "sliced": wide[:, 1:-1, :-1, ::2],
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "batch last": x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
        "expanded": x[:1].expand(n, c, h, w),
        "one number": x[:1, :1, :1, :1].expand(n, c, h, w),
    }


@pytest.mark.parametrize("layout", layouts(torch.zeros(IMAGES)))
def test_inputs_of_any_layout(layout: str) -> None:
    code, modules, shape = CASES["different padding of one tensor"]
    model = quantized(Written(code, **modules), torch.randn(shape))
    x = layouts(torch.randn(shape))[layout]
    assert_planned_right(model, x)
    assert torch.equal(model(x), model(x.contiguous()))


def test_integers_between_regions_of_any_layout() -> None:
    """What slices and lists of channels hand to the second region is not as kernels write it."""

    def code(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.b(y[:, :, 1:, 1:].sin()) + m.c(y[:, [5, 1]][:, :, 1:, 1:])  # type: ignore[no-any-return]

    model = quantized(Written(code, a=same(3, 8), b=same(8, 4), c=conv(2, 4)), torch.randn(IMAGES))
    assert len(regions_of(model)) >= 2
    assert_planned_right(model, torch.randn(IMAGES))


# What a program does without.


def kernels(name: str) -> list[str]:
    code, modules, shape = CASES[name]
    x = torch.randn(shape)
    return kernels_of(plan_of(quantized(Written(code, **modules), x), x))


@pytest.mark.parametrize("name", ["cat of results", "cat of cats", "chunk", "residual in a cat", "permute and back"])
def test_movement_without_copies(name: str) -> None:
    assert "copy" not in kernels(name)


@pytest.mark.parametrize(
    ("name", "copies"), [("pixel shuffle", 1), ("pixel unshuffle", 1), ("flip", 1), ("roll", 4), ("repeat", 3)]
)
def test_movement_takes_few_copies(name: str, copies: int) -> None:
    assert kernels(name).count("copy") == copies


def test_a_piece_of_two_concatenations_is_copied_into_one() -> None:
    assert kernels("cat of lists").count("copy") == 5  # the stem and a twice, b once


def test_convolutions_read_padded_buffers_without_scratch() -> None:
    code, modules, shape = CASES["different padding of one tensor"]
    x = torch.randn(shape)
    plan = plan_of(quantized(Written(code, **modules), x), x)
    convolutions = [call for call in plan.calls if call.kernel == "conv2d"]
    scratch = [call.operands[3] for call in convolutions[1:]]
    assert scratch == [None] * 4
    assert kernels_of(plan).count("fill_halo") == 1


def in_place(name: str, kernel: str) -> list[bool]:
    """For each call of `kernel`, whether it writes over something that it reads."""
    code, modules, shape = CASES[name]
    x = torch.randn(shape)
    calls = [c for c in plan_of(quantized(Written(code, **modules), x), x).calls if c.kernel == kernel]
    return [any(v is not None and v.buffer is c.operands[0].buffer for v in c.operands[1:]) for c in calls]  # type: ignore[union-attr]


def test_kernels_write_over_what_nothing_reads_later() -> None:
    assert in_place("lookup of a pool", "lookup") == [True]
    assert in_place("lookup with a halo", "lookup") == [False]
    assert in_place("lookup of what is read later", "lookup") == [False]
    assert in_place("sum with a row of itself", "add") == [False]
    assert in_place("residual of its own input, wide", "conv2d") == [False, False, False]
    assert in_place("squeeze and excite", "mul") == [True]


def test_a_plan_says_which_threads_it_deserves(monkeypatch: pytest.MonkeyPatch) -> None:
    code, modules, shape = CASES["pools"]
    x = torch.randn(shape)
    model = quantized(Written(code, **modules), x)
    torch_threads = torch.get_num_threads()
    assert plan_of(model, x).threads == torch_threads
    monkeypatch.setattr(planner, "SERIAL_WORK", 10**9)
    assert plan_of(model, x).threads == 1
