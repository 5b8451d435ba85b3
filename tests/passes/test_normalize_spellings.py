"""Every spelling of an op ends in the same graph, and that graph computes what the user's code computed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace
from fxquant.graph.verify import verify
from fxquant.ops.op import OPS, op_of

Code = Callable[..., Tensor]


class Written(nn.Module):
    """A model whose forward is the given code over the given submodules: code(self, x)."""

    def __init__(self, code: Code, **parts: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


def normalized(model: nn.Module, *inputs: Any) -> GraphModule:
    gm = run_stage(trace(model.eval(), inputs), "normalize")
    verify(gm, "normalize")
    return gm


def text(gm: GraphModule) -> str:
    return str(gm.graph)


def check_all_alike(model_of: list[nn.Module], x: Tensor) -> GraphModule:
    graphs = []
    for model in model_of:
        with torch.no_grad():
            expected = model.eval()(x.clone())
            gm = normalized(model, x)
            torch.testing.assert_close(gm(x), expected, rtol=0, atol=0)
        graphs.append(gm)
    for gm in graphs[1:]:
        assert text(gm) == text(graphs[0])
    return graphs[0]


def names(gm: GraphModule) -> list[str]:
    return [row.name for node in gm.graph.nodes if (row := op_of(node)) is not None]


def in_place(x: Tensor, function: Callable[[Tensor], Any]) -> Tensor:
    function(x)
    return x


RELU: list[Code] = [
    lambda m, x: F.relu(x),
    lambda m, x: F.relu(x, inplace=True),
    lambda m, x: F.relu(input=x),
    lambda m, x: F.relu_(x),
    lambda m, x: torch.relu(x),
    lambda m, x: torch.relu_(x),
    lambda m, x: x.relu(),
    lambda m, x: x.relu_(),
    lambda m, x: in_place(x, torch.relu_),
    lambda m, x: in_place(x, F.relu_),
    lambda m, x: in_place(x, lambda y: F.relu(y, inplace=True)),
    lambda m, x: in_place(x, lambda y: y.relu_()),
    lambda m, x: m.act(x),
    lambda m, x: m.act_in_place(x),
    lambda m, x: in_place(x, m.act_in_place),
    lambda m, x: x.clamp(min=0),
    lambda m, x: torch.clamp(x, 0),
    lambda m, x: torch.clamp_min(x, 0.0),
]


def relu_modules() -> dict[str, nn.Module]:
    return {"act": nn.ReLU(), "act_in_place": nn.ReLU(inplace=True)}


def seeded(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


CONV: list[Code] = [
    lambda m, x: m.conv(x),
    lambda m, x: F.conv2d(x, m.conv.weight, m.conv.bias, 1, 1),
    lambda m, x: torch.conv2d(x, m.conv.weight, m.conv.bias, padding=(1, 1)),
    lambda m, x: F.conv2d(x, weight=m.conv.weight, bias=m.conv.bias, padding="same"),
    lambda m, x: F.conv2d(input=x, weight=m.conv.weight, bias=m.conv.bias, stride=[1], padding=1),
]


def test_conv_bn_relu_is_one_graph() -> None:
    pairs = [(conv, relu) for conv in CONV for relu in (RELU if conv is CONV[0] else RELU[::5])]
    models = [
        seeded(
            Written(
                lambda m, x, c=conv, r=relu: r(m, m.bn(c(m, x))),
                conv=nn.Conv2d(3, 4, 3, padding="same" if i % 2 else 1),
                bn=nn.BatchNorm2d(4),
                **relu_modules(),
            )
        )
        for i, (conv, relu) in enumerate(pairs)
    ]
    x = torch.randn(2, 3, 6, 5)
    gm = check_all_alike(models, x)
    assert names(gm) == ["conv2d", "relu"]
    assert [node.target for node in gm.graph.nodes if node.op == "call_module"] == ["bn"]
    fused = run_stage(gm, "fuse")
    assert [node.name for node in fused.graph.nodes] == ["x", "conv_weight", "conv_bias", "conv2d", "relu", "output"]
    torch.testing.assert_close(fused(x), models[0](x))


ADD: list[Code] = [
    lambda m, x: x + x.sigmoid(),
    lambda m, x: x.add(x.sigmoid()),
    lambda m, x: torch.add(x, x.sigmoid()),
    lambda m, x: torch.add(input=x, other=x.sigmoid(), alpha=1),
    lambda m, x: operator.add(x, torch.sigmoid(x)),
    lambda m, x: x.__add__(m.sigmoid(x)),
    lambda m, x: operator.iadd(x, F.sigmoid(x)),
    lambda m, x: x.add_(x.sigmoid()),
    lambda m, x: in_place(x, lambda y: y.add_(y.sigmoid())),
]


@pytest.mark.slow
def test_add_relu_is_one_graph() -> None:
    models = [
        Written(lambda m, x, a=add, r=relu: r(m, a(m, x)), sigmoid=nn.Sigmoid(), **relu_modules())
        for add in ADD
        for relu in RELU
    ]

    def augmented(m: Any, x: Tensor) -> Tensor:
        x += x.sigmoid()
        return F.relu(x)

    gm = check_all_alike([*models, Written(augmented)], torch.randn(2, 3, 4))
    assert names(gm) == ["sigmoid", "add", "relu"]


def _flatten_size(m: Any, x: Tensor) -> Tensor:
    n, _, _, _ = x.shape
    return x.view(n, -1)


ALIKE: dict[str, tuple[list[str], list[Code]]] = {
    "linear": (
        ["linear"],
        [
            lambda m, x: m.fc(x),
            lambda m, x: F.linear(x, m.fc.weight, m.fc.bias),
            lambda m, x: F.linear(x, bias=m.fc.bias, weight=m.fc.weight),
        ],
    ),
    "relu6": (
        ["clamp"],
        [
            lambda m, x: F.relu6(x),
            lambda m, x: m.relu6(x),
            lambda m, x: m.hardtanh(x),
            lambda m, x: F.hardtanh(x, 0, 6),
            lambda m, x: F.hardtanh_(x, 0.0, 6.0),
            lambda m, x: x.clamp(0, 6),
            lambda m, x: x.clamp_(0, 6),
            lambda m, x: torch.clip(x, min=0, max=6),
        ],
    ),
    "max_pool2d": (
        ["max_pool2d"],
        [
            lambda m, x: m.max_pool(x),
            lambda m, x: F.max_pool2d(x, 2),
            lambda m, x: F.max_pool2d(x, (2, 2), stride=2),
            lambda m, x: torch.max_pool2d(x, [2]),
        ],
    ),
    "avg_pool2d": (
        ["avg_pool2d"],
        [
            lambda m, x: m.avg_pool(x),
            lambda m, x: F.avg_pool2d(x, 3, 2, 1),
            lambda m, x: F.avg_pool2d(x, kernel_size=(3, 3), stride=[2, 2], padding=1),
        ],
    ),
    "adaptive_avg_pool2d": (
        ["adaptive_avg_pool2d"],
        [
            lambda m, x: m.global_pool(x),
            lambda m, x: F.adaptive_avg_pool2d(x, 1),
            lambda m, x: F.adaptive_avg_pool2d(x, output_size=(1, 1)),
        ],
    ),
    "mean": (
        ["mean"],
        [
            lambda m, x: x.mean((2, 3)),
            lambda m, x: x.mean([3, 2]),
            lambda m, x: x.mean(dim=[-1, -2], keepdim=False),
            lambda m, x: torch.mean(x, (2, 3)),
            lambda m, x: torch.mean(x, dim=(-2, -1)),
        ],
    ),
    "mean before channels": (
        ["permute", "mean"],
        [
            lambda m, x: x.mean((1, 2)),
            lambda m, x: torch.mean(x, dim=[-2, 1]),
            lambda m, x: x.permute(0, 3, 1, 2).mean((2, 3)),
        ],
    ),
    "addcmul": (
        ["mul", "add"],
        [
            lambda m, x: x.addcmul(x, 2 * torch.ones(4)),
            lambda m, x: torch.addcmul(x, x, 2 * torch.ones(4)),
            lambda m, x: x + x * (2 * torch.ones(4)),
        ],
    ),
    "flatten": (
        ["flatten"],
        [
            lambda m, x: m.flatten(x),
            lambda m, x: x.flatten(1),
            lambda m, x: torch.flatten(x, 1),
            lambda m, x: torch.flatten(x, start_dim=1, end_dim=-1),
            lambda m, x: x.view(x.size(0), -1),
            lambda m, x: x.view(x.size()[0], -1),
            lambda m, x: x.reshape(x.shape[0], -1),
            lambda m, x: x.reshape((x.shape[0], -1)),
            lambda m, x: torch.reshape(x, (x.size(dim=0), -1)),
            _flatten_size,
        ],
    ),
    "permute": (
        ["permute"],
        [
            lambda m, x: x.permute(0, 2, 1, 3),
            lambda m, x: x.permute((0, 2, 1, -1)),
            lambda m, x: torch.permute(x, (0, 2, 1, 3)),
            lambda m, x: x.transpose(1, 2),
            lambda m, x: torch.transpose(x, 2, 1),
            lambda m, x: x.swapaxes(1, -2),
            lambda m, x: x.movedim(1, 2),
            lambda m, x: torch.movedim(x, (1,), (-2,)),
        ],
    ),
    "cat": (
        ["cat"],
        [
            lambda m, x: torch.cat([x, x], 1),
            lambda m, x: torch.cat((x, x), dim=-3),
            lambda m, x: torch.concat([x, x], axis=1),
            lambda m, x: torch.concatenate(tensors=[x, x], dim=1),
        ],
    ),
    "chunk": (
        ["chunk", "getitem", "getitem", "mul"],
        [
            lambda m, x: _halves(x.chunk(2, 3)),
            lambda m, x: _halves(torch.chunk(x, 2, dim=-1)),
            lambda m, x: _halves(x.chunk(chunks=2, dim=3)),
        ],
    ),
    "split": (
        ["split", "getitem", "getitem", "mul"],
        [lambda m, x: _halves(x.split(2, 3)), lambda m, x: _halves(torch.split(x, 2, dim=-1))],
    ),
    "slice": (
        ["getitem"],
        [lambda m, x: x[:, :, 1:3], lambda m, x: x.narrow(2, 1, 2), lambda m, x: torch.narrow(x, -2, 1, 2)],
    ),
    "abs": (
        ["abs"],
        [lambda m, x: x.abs(), lambda m, x: abs(x), lambda m, x: torch.abs(x), lambda m, x: torch.absolute(x)],
    ),
    "pow": (
        ["pow"],
        [lambda m, x: x**2, lambda m, x: x.pow(2), lambda m, x: torch.square(x), lambda m, x: torch.pow(x, 2)],
    ),
    "rsqrt": (
        ["sigmoid", "rsqrt"],
        [lambda m, x: x.sigmoid().rsqrt(), lambda m, x: torch.rsqrt(torch.sigmoid(x))],
    ),
    "maximum": (
        ["relu", "maximum"],
        [
            lambda m, x: torch.maximum(x, F.relu(x)),
            lambda m, x: torch.max(x, F.relu(x)),
            lambda m, x: x.max(F.relu(x)),
            lambda m, x: x.maximum(other=F.relu(x)),
        ],
    ),
    "minimum": (["relu", "minimum"], [lambda m, x: torch.min(x, F.relu(x)), lambda m, x: x.minimum(F.relu(x))]),
    "index_select": (
        ["index_select"],
        [
            lambda m, x: torch.index_select(x, 1, m.index.value),
            lambda m, x: x.index_select(dim=-3, index=m.index.value),
        ],
    ),
    "gather": (
        ["gather"],
        [lambda m, x: torch.gather(x, 1, m.places.value), lambda m, x: x.gather(-3, m.places.value)],
    ),
    "unfold": (["unfold"], [lambda m, x: x.unfold(2, 3, 1), lambda m, x: x.unfold(dimension=-2, size=3, step=1)]),
    "windows": (
        ["pad", "unfold", "unfold", "permute", "flatten", "flatten"],
        [
            lambda m, x: m.windows(x),
            lambda m, x: F.unfold(x, 3, padding=1),
            lambda m, x: torch.nn.functional.unfold(x, (3, 3), 1, (1, 1)),
        ],
    ),
    "channel_shuffle": (
        ["unflatten", "permute", "flatten"],
        [lambda m, x: m.mix_channels(x), lambda m, x: F.channel_shuffle(x, 2)],
    ),
    "hstack": (["cat"], [lambda m, x: torch.hstack([x, x]), lambda m, x: torch.cat((x, x), 1)]),
    "select": (["getitem"], [lambda m, x: x[:, :, 1], lambda m, x: x.select(2, 1), lambda m, x: torch.select(x, 2, 1)]),
    "squeeze": (
        ["squeeze"],
        [lambda m, x: x.squeeze(0), lambda m, x: torch.squeeze(x, -4), lambda m, x: x.squeeze((0,))],
    ),
    "unsqueeze": (["unsqueeze"], [lambda m, x: x.unsqueeze(-1), lambda m, x: torch.unsqueeze(x, 4)]),
    "pad": (["pad"], [lambda m, x: m.zero_pad(x), lambda m, x: F.pad(x, (1, 2, 3, 4)), lambda m, x: m.const_pad(x)]),
    "reflect": (["pad"], [lambda m, x: m.reflect_pad(x), lambda m, x: F.pad(x, [1, 1, 1, 1], mode="reflect")]),
    "upsample": (
        ["interpolate"],
        [
            lambda m, x: m.upsample(x),
            lambda m, x: F.interpolate(x, scale_factor=2),
            lambda m, x: F.interpolate(x, scale_factor=(2.0, 2.0), mode="nearest"),
        ],
    ),
    "bilinear": (
        ["interpolate"],
        [
            lambda m, x: m.bilinear(x),
            lambda m, x: F.interpolate(x, size=8, mode="bilinear", align_corners=False),
            lambda m, x: F.interpolate(x, [8, 8], mode="bilinear"),
        ],
    ),
    "scalar": (["add"], [lambda m, x: x + 3, lambda m, x: 3 + x, lambda m, x: x.add(3), lambda m, x: torch.add(x, 3)]),
    "scaled": (
        ["mul"],
        [lambda m, x: x * 3, lambda m, x: 3 * x, lambda m, x: x.mul_(3), lambda m, x: torch.multiply(x, 3)],
    ),
    "minus": (["sub"], [lambda m, x: 3 - x, lambda m, x: torch.rsub(x, 3), lambda m, x: x.__rsub__(3)]),
    "over": (["div"], [lambda m, x: x / 4, lambda m, x: x.div(4), lambda m, x: torch.true_divide(x, 4)]),
    "alpha": (["mul", "add"], [lambda m, x: torch.add(x, x, alpha=2), lambda m, x: x + x * 2]),
    "vanishing": (
        ["relu"],
        [
            lambda m, x: m.dropout(x).relu(),
            lambda m, x: F.dropout(x, 0.2, m.training).relu(),
            lambda m, x: m.identity(x.contiguous()).relu().detach(),
            lambda m, x: x.float().to("cpu").to(torch.float32).clone().relu(),
        ],
    ),
    "silu": (["silu"], [lambda m, x: m.silu(x), lambda m, x: F.silu(x), lambda m, x: F.silu(x, inplace=True)]),
    "hardswish": (["hardswish"], [lambda m, x: m.hardswish(x), lambda m, x: F.hardswish(x)]),
    "hardsigmoid": (["hardsigmoid"], [lambda m, x: m.hardsigmoid(x), lambda m, x: F.hardsigmoid(x)]),
    "gelu": (["gelu"], [lambda m, x: m.gelu(x), lambda m, x: F.gelu(x, approximate="tanh")]),
    "elu": (["elu"], [lambda m, x: m.elu(x), lambda m, x: F.elu(x, 0.5), lambda m, x: F.elu_(x, 0.5)]),
    "leaky": (["leaky_relu"], [lambda m, x: m.leaky(x), lambda m, x: F.leaky_relu(x, negative_slope=0.2)]),
    "mish": (["mish"], [lambda m, x: m.mish(x), lambda m, x: F.mish(x)]),
    "softplus": (["softplus"], [lambda m, x: m.softplus(x), lambda m, x: F.softplus(x, beta=2)]),
    "tanh": (
        ["tanh"],
        [lambda m, x: m.tanh(x), lambda m, x: x.tanh(), lambda m, x: torch.tanh(x), lambda m, x: x.tanh_()],
    ),
    "prelu": (["prelu"], [lambda m, x: m.prelu(x), lambda m, x: F.prelu(x, m.prelu.weight)]),
    "softmax": (["softmax"], [lambda m, x: m.softmax(x), lambda m, x: x.softmax(-1), lambda m, x: F.softmax(x, dim=3)]),
    "shuffle": (["pixel_shuffle"], [lambda m, x: m.shuffle(x), lambda m, x: F.pixel_shuffle(x, 2)]),
    "unshuffle": (["pixel_unshuffle"], [lambda m, x: m.unshuffle(x), lambda m, x: F.pixel_unshuffle(x, 2)]),
    "stack": (
        ["unsqueeze", "unsqueeze", "cat"],
        [lambda m, x: torch.stack([x, x], -1), lambda m, x: torch.stack((x, x), 4)],
    ),
    "flip": (
        ["flip"],
        [
            lambda m, x: x.flip(1, 3),
            lambda m, x: x.flip([3, -3]),
            lambda m, x: torch.flip(x, (1, 3)),
            lambda m, x: torch.flip(x, dims=(1, 3)),
        ],
    ),
    "fliplr": (["flip"], [lambda m, x: x.fliplr(), lambda m, x: torch.fliplr(x), lambda m, x: x.flip(1)]),
    "flipud": (["flip"], [lambda m, x: x.flipud(), lambda m, x: torch.flipud(x), lambda m, x: x.flip(0)]),
    "roll": (
        ["roll"],
        [
            lambda m, x: x.roll((1, -2), (2, 3)),
            lambda m, x: torch.roll(x, shifts=(1, -2), dims=(2, -1)),
            lambda m, x: x.roll(dims=(2, 3), shifts=(1, -2)),
        ],
    ),
    "roll one": (["roll"], [lambda m, x: x.roll(1, 2), lambda m, x: torch.roll(x, 1, -2)]),
    "expand": (
        ["getitem", "expand"],
        [
            lambda m, x: x[:, :1].expand(-1, 4, -1, -1),
            lambda m, x: x[:, :1].expand((-1, 4, -1, -1)),
            lambda m, x: x[:, :1].expand(size=(-1, 4, -1, -1)),
        ],
    ),
    "repeat": (
        ["unsqueeze", "expand", "flatten"],
        [
            lambda m, x: x.repeat(1, 2, 1, 1),
            lambda m, x: x.repeat((1, 2, 1, 1)),
            lambda m, x: torch.tile(x, (2, 1, 1)),
            lambda m, x: x.tile(2, 1, 1),
        ],
    ),
    "repeat_interleave": (
        ["unsqueeze", "expand", "flatten"],
        [lambda m, x: x.repeat_interleave(2, 1), lambda m, x: torch.repeat_interleave(x, 2, dim=-3)],
    ),
    "unbind": (
        ["getitem", "unbind", "getitem", "getitem", "mul"],
        [lambda m, x: _halves(x[..., :2].unbind(-1)), lambda m, x: _halves(torch.unbind(x[..., :2], 3))],
    ),
    "unflatten": (
        ["unflatten"],
        [
            lambda m, x: x.unflatten(1, (2, -1)),
            lambda m, x: torch.unflatten(x, -3, (2, -1)),
            lambda m, x: m.unflatten(x),
        ],
    ),
    "neg": (["mul"], [lambda m, x: -x, lambda m, x: torch.neg(x), lambda m, x: x.neg_()]),
}


def _halves(pieces: Any) -> Tensor:
    first, second = pieces
    return first * second


class Constant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)


def parts() -> dict[str, nn.Module]:
    return {
        "fc": nn.Linear(4, 5),
        "relu6": nn.ReLU6(),
        "hardtanh": nn.Hardtanh(0, 6, inplace=True),
        "max_pool": nn.MaxPool2d(2),
        "avg_pool": nn.AvgPool2d(3, 2, 1),
        "global_pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "unflatten": nn.Unflatten(1, (2, -1)),
        "zero_pad": nn.ZeroPad2d((1, 2, 3, 4)),
        "const_pad": nn.ConstantPad2d((1, 2, 3, 4), 0),
        "reflect_pad": nn.ReflectionPad2d(1),
        "upsample": nn.Upsample(scale_factor=2),
        "bilinear": nn.Upsample(8, mode="bilinear"),
        "dropout": nn.Dropout2d(),
        "identity": nn.Identity(),
        "silu": nn.SiLU(inplace=True),
        "hardswish": nn.Hardswish(),
        "hardsigmoid": nn.Hardsigmoid(inplace=True),
        "gelu": nn.GELU("tanh"),
        "elu": nn.ELU(0.5),
        "leaky": nn.LeakyReLU(0.2, inplace=True),
        "mish": nn.Mish(),
        "softplus": nn.Softplus(beta=2),
        "tanh": nn.Tanh(),
        "prelu": nn.PReLU(4),
        "softmax": nn.Softmax(-1),
        "shuffle": nn.PixelShuffle(2),
        "unshuffle": nn.PixelUnshuffle(2),
        "windows": nn.Unfold(3, padding=1),
        "mix_channels": nn.ChannelShuffle(2),
        "index": Constant(torch.tensor([2, 0, 0])),
        "places": Constant(torch.randint(0, 4, (1, 4, 4, 4))),
    }


@pytest.mark.parametrize("name", ALIKE)
def test_spellings_are_one_graph(name: str) -> None:
    ops, spellings = ALIKE[name]
    gm = check_all_alike([seeded(Written(code, **parts())) for code in spellings], torch.randn(1, 4, 4, 4) * 3)
    assert names(gm) == ops
    assert all(node.op in ("placeholder", "get_attr", "output") or op_of(node) for node in gm.graph.nodes)


CONVOLUTIONS = {
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 8, (3, 2), padding=(1, 0), dilation=2, groups=4, bias=False), (2, 4, 9, 8)),
    "conv2d_same_even": (nn.Conv2d(4, 8, 4, padding="same"), (2, 4, 9, 8)),
    "conv2d_circular": (nn.Conv2d(4, 8, 3, padding=(1, 2), padding_mode="circular"), (2, 4, 9, 8)),
    "conv2d_reflect_same": (nn.Conv2d(4, 8, 4, padding="same", padding_mode="reflect"), (2, 4, 9, 8)),
    "conv2d_replicate": (nn.Conv2d(4, 8, 3, padding=1, padding_mode="replicate"), (2, 4, 9, 8)),
    "conv2d_valid": (nn.Conv2d(4, 8, 3, padding="valid"), (2, 4, 9, 8)),
    "conv3d": (nn.Conv3d(2, 3, 3, padding=1), (1, 2, 4, 4, 4)),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), (2, 4, 5)),
    "conv_transpose2d": (
        nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2, dilation=2),
        (2, 4, 5, 5),
    ),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2), (1, 2, 3, 3, 3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_compute_the_same(name: str) -> None:
    module, shape = CONVOLUTIONS[name]
    x = torch.randn(shape)
    gm = normalized(module, x)
    torch.testing.assert_close(gm(x), module(x), rtol=0, atol=0)
    assert [n for n in names(gm) if n != "pad"] == [name.split("_")[0] if "transpose" not in name else name]
    assert ("pad" in names(gm)) == (
        name in ("conv2d_same_even", "conv2d_circular", "conv2d_reflect_same", "conv2d_replicate")
    )
    assert set(gm.state_dict()) == set(module.state_dict())
    assert all(node.meta["shape"] is not None for node in gm.graph.nodes if op_of(node))


def test_every_float_op_is_covered_above() -> None:
    float_ops = {
        row.name
        for row in OPS.values()
        if row.call.__module__.startswith("fxquant.ops.") and row.call.__module__.count(".") == 2
    } - {"quantize", "dequantize", "dequantize_to", "lookup"}
    covered = {name for ops, _ in ALIKE.values() for name in ops}
    covered |= {
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "relu",
        "sigmoid",
    }
    covered |= {"max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "batch_norm", "reshape"}  # the tests below
    covered |= {"set_item"}  # test_normalize_inplace.py
    covered |= {"recurrent", "hidden_states", "cell_state"}  # tests/test_recurrent_modules.py
    covered |= {pool for pool, _, _ in OTHER_POOLS}
    covered |= set(TRANSFORMER_SPELLINGS)
    assert float_ops <= covered


def bags(m: Any, x: Tensor) -> Tensor:
    return F.embedding_bag(x[0].abs().mul(3).long().clamp(0, 3).flatten(1), m.table, mode="sum")


# A spelling of each op that tests/test_transformers.py converts, on an input [2, 4, 4, 4].
TRANSFORMER_SPELLINGS: dict[str, Code] = {
    "matmul": lambda m, x: (
        torch.baddbmm(x[0], x[0], x[1], beta=0.5, alpha=2) + torch.einsum("abc,acd->abd", x[0], x[1])
    ),
    "attention": lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "log_softmax": lambda m, x: F.log_softmax(x, -1),
    "layer_norm": lambda m, x: F.layer_norm(x, (4, 4), eps=1e-3),
    "rms_norm": lambda m, x: F.rms_norm(x, (4,)),
    "group_norm": lambda m, x: F.group_norm(x, 2) + F.instance_norm(x),
    "embedding": lambda m, x: F.embedding(x.abs().long().clamp(0, 3), m.table),
    "embedding_bag": bags,
    "masked_fill": lambda m, x: x.masked_fill(x > 0, -1.0) + torch.where(x > 0, x, 0.5),
    "where": lambda m, x: torch.where(x > 0, x, 2 * x),
    "unbind": lambda m, x: x.unbind(1)[2],
    "unflatten": lambda m, x: x.unflatten(-1, (2, -1)),
    "expand": lambda m, x: x[:1].expand(3, -1, -1, -1),
}


class WithTable(nn.Module):
    def __init__(self, code: Code) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 5))
        self.code = code

    def forward(self, x: Tensor) -> Any:
        return self.code(self, x)


@pytest.mark.parametrize("name", TRANSFORMER_SPELLINGS)
def test_transformer_ops_compute_the_same(name: str) -> None:
    model, x = WithTable(TRANSFORMER_SPELLINGS[name]).eval(), torch.randn(2, 4, 4, 4)
    gm = run_stage(trace(model, (x,)), "normalize")
    assert name in {row.name for node in gm.graph.nodes if (row := op_of(node)) is not None}
    torch.testing.assert_close(gm(x), model(x))


# Each with its module and its function.
OTHER_POOLS: list[tuple[str, nn.Module, Code]] = [
    ("max_pool3d", nn.MaxPool3d(2, 1, 1), lambda m, x: F.max_pool3d(x, 2, 1, 1)),
    ("avg_pool3d", nn.AvgPool3d(2, 1, 1, True, False), lambda m, x: F.avg_pool3d(x, 2, 1, 1, True, False)),
    ("adaptive_avg_pool3d", nn.AdaptiveAvgPool3d((2, None, 1)), lambda m, x: F.adaptive_avg_pool3d(x, (2, None, 1))),
    ("adaptive_max_pool1d", nn.AdaptiveMaxPool1d(2), lambda m, x: F.adaptive_max_pool1d(x, 2)),
    ("adaptive_max_pool2d", nn.AdaptiveMaxPool2d(2), lambda m, x: F.adaptive_max_pool2d(x, (2, 2))),
    ("adaptive_max_pool3d", nn.AdaptiveMaxPool3d((2, 1, 3)), lambda m, x: F.adaptive_max_pool3d(x, (2, 1, 3))),
]


@pytest.mark.parametrize(
    ("name", "module", "code"), OTHER_POOLS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_other_pools(name: str, module: nn.Module, code: Code) -> None:
    x = torch.randn(2, 3, *[5] * int(name[-2]))
    gm = check_all_alike([Written(lambda m, x: m.part(x), part=module), Written(code)], x)
    assert names(gm) == [name]


def test_one_dimensional_pools() -> None:
    x = torch.randn(2, 3, 8)
    cases: list[tuple[str, nn.Module, Code]] = [
        ("max_pool1d", nn.MaxPool1d(3, 2, 1), lambda m, x: F.max_pool1d(x, 3, 2, 1)),
        ("avg_pool1d", nn.AvgPool1d(2), lambda m, x: F.avg_pool1d(x, kernel_size=[2])),
        ("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(2), lambda m, x: F.adaptive_avg_pool1d(x, 2)),
    ]
    for name, module, code in cases:
        gm = check_all_alike([Written(lambda m, x: m.part(x), part=module), Written(code)], x)
        assert names(gm) == [name]


def test_functional_batch_norm_is_an_op_in_eval_only() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        bn = m.bn
        return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, m.training, eps=bn.eps)

    model = seeded(Written(code, bn=nn.BatchNorm2d(3)))
    x = torch.randn(2, 3, 4, 4)
    gm = normalized(model, x)
    assert names(gm) == ["batch_norm"]
    torch.testing.assert_close(gm(x), model(x), rtol=0, atol=0)

    always = Written(lambda m, x: F.batch_norm(x, None, None, training=True))
    (node,) = [n for n in normalized(always, x).graph.nodes if n.op == "call_function"]
    assert node.target is F.batch_norm
    assert node.meta["reason"] == "it normalizes by the statistics of each batch"


def test_sizes_stay_dynamic() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    gm = normalized(Written(code), torch.randn(2, 4, 3, 3))
    other = torch.randn(5, 4, 6, 7)
    torch.testing.assert_close(gm(other), code(None, other), rtol=0, atol=0)
    assert names(gm) == ["reshape", "permute", "reshape"]
    codes = torch.randint(0, 255, (3, 4, 2, 2), dtype=torch.uint8)
    assert torch.equal(gm(codes), code(None, codes))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda m, x: F.softmax(x, 1, dtype=torch.float64), "it computes in torch.float64"),
        (lambda m, x: x.double(), None),
        (lambda m, x: x.to(torch.float64), "it converts to torch.float64"),
        (lambda m, x: F.dropout(x, 1e-9), "it drops values even in eval()"),
        (lambda m, x: F.interpolate(x, scale_factor=2, mode="bicubic"), "mode='bicubic' is not in the op table"),
        (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "rounding_mode='floor'"),
        (lambda m, x: x.clamp(min=x.mean()), "its bounds are tensors"),
        (lambda m, x: x.mul(3).long().clamp(-1, 2), "its input is torch.int64"),
        (lambda m, x: x / x.size(1), "is a number computed while the model runs"),
        (lambda m, x: x.mean(1, dtype=torch.float64), "it changes the dtype"),
        (lambda m, x: m.pool(x)[0], "it returns indices"),
        (lambda m, x: m.hooked(x), "Conv2d has forward hooks"),
    ],
)
def test_arguments_that_do_not_fit_stay_with_a_reason(code: Code, reason: str | None) -> None:
    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(lambda module, args, output: output * 2)
    model = Written(code, hooked=hooked, pool=nn.MaxPool2d(2, return_indices=True)).eval()
    x = torch.randn(2, 4, 4, 4)
    gm = normalized(model, x)
    torch.testing.assert_close(gm(x), model(x))
    reasons = [
        node.meta["reason"] for node in gm.graph.nodes if "reason" in node.meta and node.meta["shape"] is not None
    ]
    if reason is not None:
        assert any(reason in r for r in reasons), reasons
    assert reason is not None or not reasons


def test_numbers_are_left_alone() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        n = x.size(0)
        n += 1
        return x.view(n - 1, -1) * 2

    gm = normalized(Written(code), torch.randn(3, 4))
    assert [n.target for n in gm.graph.nodes if n.op == "call_function" and not op_of(n)] == [
        operator.add,
        operator.sub,
    ]
    x = torch.randn(6, 4)
    assert torch.equal(gm(x), x * 2)


def test_subclasses_of_torch_modules() -> None:
    class Renamed(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(2, 2, 1)

    class Doubled(nn.Conv2d):
        def _conv_forward(self, input: Tensor, weight: Tensor, bias: Any) -> Tensor:
            return super()._conv_forward(input, weight * 2, bias)

    class PlainNorm(nn.BatchNorm2d):
        pass

    x = torch.randn(1, 2, 3, 3)
    model = nn.Sequential(Renamed(), Doubled(2, 2, 1), PlainNorm(2)).eval()
    gm = normalized(model, x)
    torch.testing.assert_close(gm(x), model(x), rtol=0, atol=0)
    assert names(gm) == ["conv2d", "conv2d"]
    assert [n.target for n in gm.graph.nodes if n.op == "call_module"] == ["2"]


def test_shared_modules_and_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))

        def forward(self, x: Tensor) -> Tensor:
            return self.features(self.features(x))

    model = Net()
    gm = normalized(model, torch.randn(1, 3, 2, 2))
    assert list(gm.state_dict()) == list(model.state_dict()) == ["features.0.0.weight", "features.0.0.bias"]
    first, second = [n for n in gm.graph.nodes if op_of(n) and op_of(n).name == "conv2d"]
    assert str(origin_of(first)).startswith("features.0.0 (Conv2d, test_normalize_spellings.py:")
    assert origin_of(second) == replace(origin_of(first), call=1)
