"""Models, settings and data as nobody means them: the menus that test_malformed_input.py draws from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant import (
    BackendConfig,
    FixedQParamsObserver,
    HistogramObserver,
    MinMaxObserver,
    NoopObserver,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    PrepareCustomConfig,
    QConfig,
    QConfigMapping,
    default_debug_qconfig,
    default_dynamic_qconfig,
    default_qat_qconfig,
    default_quint8_weight_qconfig,
    default_reuse_input_qconfig,
    default_weight_observer,
    float16_static_qconfig,
    get_default_qconfig,
    get_default_qconfig_mapping,
)

CHANNELS, SIZE = 4, 6


def images(batch: int = 2) -> Tensor:
    return torch.linspace(-1, 1.5, batch * CHANNELS * SIZE * SIZE).reshape(batch, CHANNELS, SIZE, SIZE)


class Pair(NamedTuple):
    first: Any
    second: Any


class Malformed(nn.Module):
    """`steps`, each of which takes images [N, 4, 6, 6] to images of the same shape, and then `pack`."""

    def __init__(self, steps: Sequence[str], pack: str) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.other.weight = self.conv.weight
        self.nothing = nn.Conv2d(CHANNELS, 0, 1)
        self.from_nothing = nn.Linear(0, 3)
        self.linear, self.norm = nn.Linear(SIZE, SIZE), nn.BatchNorm2d(CHANNELS)
        self.alias = self.linear
        self.unused = nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.last: Any = None
        self.steps, self.pack = tuple(steps), pack
        self.eval()

    def forward(self, x: Tensor) -> Any:
        values = [x]
        for step in self.steps:
            values.append(STEPS[step](self, values[-1], values[0]))
        return PACKS[self.pack](values[-1], x)


Step = Callable[[Any, Tensor, Tensor], Tensor]


def _counted(m: Any, x: Tensor, first: Tensor) -> Tensor:
    m.calls += 1
    return x


def _kept(m: Any, x: Tensor, first: Tensor) -> Tensor:
    m.last = x
    return m.conv(x)  # type: ignore[no-any-return]


def _in_place(m: Any, x: Tensor, first: Tensor) -> Tensor:
    y = x + 0.5
    view = y[:, 1:]
    view.mul_(2).relu_()
    return y + first


def _ring(m: Any, x: Tensor, first: Tensor) -> Tensor:
    """Every value shares its qparams with every other, around."""
    a, b = torch.cat((x, first, x), 1).split((2 * CHANNELS, CHANNELS), 1)
    c = torch.cat((b, a), 1)
    return F.max_pool2d(torch.stack((c[:, :CHANNELS], x, b)).amax(0), 3, 1, 1)


def _containers(m: Any, x: Tensor, first: Tensor) -> Tensor:
    held: Any = {"a": [x, (first, {"b": m.conv(x)})], 3: None}
    return held["a"][1][1]["b"] + held["a"][0]  # type: ignore[no-any-return]


def _branched(m: Any, x: Tensor, first: Tensor) -> Tensor:
    return m.conv(x) if x.sum() > 0 else m.other(x)  # type: ignore[no-any-return]


def _looped(m: Any, x: Tensor, first: Tensor) -> Tensor:
    return torch.stack([m.conv(image) for image in x]) if len(x) else x


STEPS: dict[str, Step] = {
    # plain ones, for the others to stand between
    "conv": lambda m, x, first: m.conv(x),
    "relu": lambda m, x, first: torch.relu(x),
    "linear": lambda m, x, first: m.linear(x),
    "norm": lambda m, x, first: m.norm(x),
    "residual": lambda m, x, first: x + first,
    "softmax": lambda m, x, first: x.softmax(-1),
    "product": lambda m, x, first: x @ x.mT,
    "float": lambda m, x, first: torch.sin(x),
    "permuted": lambda m, x, first: x.permute(3, 0, 2, 1).permute(1, 3, 2, 0),
    # weights that two places share, or that are computed
    "tied": lambda m, x, first: m.other(m.conv(x)),
    "alias": lambda m, x, first: m.alias(m.linear(x)),
    "computed weight": lambda m, x, first: F.conv2d(x, m.conv.weight * 0.5, padding=1),
    "weight as data": lambda m, x, first: x + m.linear.weight,
    "weight of the input": lambda m, x, first: F.conv2d(x, x[:, :, :3, :3][:1].expand(CHANNELS, -1, -1, -1), padding=1),
    # results that nobody reads
    "unused": lambda m, x, first: (m.conv(x), m.linear(x))[1],
    "unused halves": lambda m, x, first: torch.cat((x.chunk(2, 1)[0],) * 2, 1),
    "unused indices": lambda m, x, first: x.sort(-1)[0] + x.max(-1, keepdim=True)[0],
    # writes
    "counted": _counted,
    "kept": _kept,
    "in place": _in_place,
    "relu in place": lambda m, x, first: F.relu_(m.conv(x)),
    "data": lambda m, x, first: x.data.clone().detach(),
    # qparams that all depend on each other
    "ring": _ring,
    "cat of itself": lambda m, x, first: torch.cat((x, x), 1)[:, CHANNELS:],
    "min and max": lambda m, x, first: torch.minimum(torch.maximum(x, first), first),
    # containers, and code that needs values
    "containers": _containers,
    "branched": _branched,
    "looped": _looped,
    "item": lambda m, x, first: x * float(x.detach().amax()) if x.numel() else x,
    "numpy": lambda m, x, first: torch.from_numpy(np.sign(x.detach().numpy())) * x,
    "sizes": lambda m, x, first: x.reshape(x.shape[0], -1, x.size(2) * x.size(3)).view_as(first) * x.dim(),
    # no elements
    "no channels": lambda m, x, first: torch.cat((x, x[:, :0]), 1),
    "sum of none": lambda m, x, first: x + x[..., :0].sum(),
    "split of none": lambda m, x, first: x.split((0, CHANNELS), 1)[1],
    "conv to none": lambda m, x, first: torch.cat((m.conv(x), m.nothing(x)), 1),
    "linear of none": lambda m, x, first: x * m.from_nothing(x[..., :0]).sum(-1, keepdim=True),
    "product of none": lambda m, x, first: x + x[..., :0] @ x[..., :0].mT,
    "none of none": lambda m, x, first: torch.cat((torch.relu(m.conv(x)[:0]), x), 0),
    "mean of none": lambda m, x, first: x + torch.nan_to_num(x[..., :0].mean()),
    # numbers at the ends of float32
    "huge": lambda m, x, first: m.conv(x * 1e38) * 1e-38,
    "overflow": lambda m, x, first: m.conv(x * 1e38) * 1e38,
    "denormal": lambda m, x, first: m.conv(x * 1e-42),
    "vanished": lambda m, x, first: m.conv(x * 1e-38 * 1e-38),
    "zero": lambda m, x, first: m.conv(x - x),
    "nan": lambda m, x, first: m.conv(x / (x - x)),
    "infinite": lambda m, x, first: torch.relu(x + math.inf),
    "masked": lambda m, x, first: (x + torch.full((SIZE, SIZE), -math.inf).triu(1)).softmax(-1),
    "lowest": lambda m, x, first: m.linear((x + torch.finfo(torch.float32).min).clamp(-1, 1)),
    "times huge": lambda m, x, first: m.conv(x) * 3e38,
    "times tiny": lambda m, x, first: m.conv(x) * 1e-45,
    "over zero": lambda m, x, first: torch.clamp(m.conv(x) / 0.0, -1, 1),
    "exponential": lambda m, x, first: m.conv(torch.exp(40 * x)),
    "empty clamp": lambda m, x, first: m.conv(x).clamp(1, -1),
    "equal bounds": lambda m, x, first: F.hardtanh(m.conv(x), 0.25, 0.25),
    # other dtypes and layouts
    "double": lambda m, x, first: m.conv(x.double().sqrt().nan_to_num().float()),
    "half": lambda m, x, first: m.conv(x.half().float()),
    "integers": lambda m, x, first: m.conv((x * 10).long().float()),
    "bools": lambda m, x, first: m.conv((x > 0).float()) * (x > 0),
    "complex": lambda m, x, first: m.conv(torch.fft.ifft(torch.fft.fft(x)).real),
    "sparse": lambda m, x, first: m.conv(x.to_sparse().to_dense()),
    "channels last": lambda m, x, first: m.conv(x.contiguous(memory_format=torch.channels_last)),
    "random": lambda m, x, first: m.conv(x + 0.01 * torch.randn_like(x)),
    "cropped": lambda m, x, first: F.pad(F.pad(x, (-SIZE, 0)), (SIZE, 0)),
    "gradients": lambda m, x, first: torch.enable_grad()(m.conv)(x),
}

PACKS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda y, x: y,
    "nested": lambda y, x: {"a": [y, (x, {"b": y * 2})], "n": None},
    "twice": lambda y, x: (y, y),
    "pair": lambda y, x: Pair(y, [x.shape, 3, "three"]),
    "input": lambda y, x: x,
    "input and views": lambda y, x: (x, x[:1], y[:, 0]),
    "none": lambda y, x: None,
    "empty tuple": lambda y, x: (),
    "number": lambda y, x: 3,
    "size": lambda y, x: y.shape[0],
    "constant": lambda y, x: torch.ones(3),
    "no elements": lambda y, x: y[:, :0],
    "scalar": lambda y, x: y.sum(),
    "bool": lambda y, x: y > 0,
    "object": lambda y, x: object(),
    "set": lambda y, x: {1, 2},
    "generator": lambda y, x: (each for each in (x, y)),
}


def _scaled(*factors: float) -> Callable[[Malformed], Any]:
    """Multiplies the channels of each weight by these, in turn."""

    def change(model: Malformed) -> None:
        for parameter in model.parameters():
            rows = torch.tensor(factors).repeat(len(parameter) + 1)[: len(parameter)]
            parameter.mul_(rows.reshape(-1, *[1] * (parameter.dim() - 1)))

    return change


def _buffers_of_norm(mean: float, var: float) -> Callable[[Malformed], Any]:
    def change(model: Malformed) -> None:
        model.norm.running_mean.fill_(mean)  # type: ignore[union-attr]
        model.norm.running_var.fill_(var)  # type: ignore[union-attr]

    return change


def _parametrized(model: Malformed) -> None:
    nn.utils.parametrizations.weight_norm(model.conv)
    nn.utils.parametrizations.weight_norm(model.linear)


def _in_training(model: Malformed) -> None:
    model.norm.train()


WEIGHTS: dict[str, Callable[[Malformed], Any]] = {
    "as made": lambda model: None,
    "zero": _scaled(0.0),
    "one channel zero": _scaled(1.0, 0.0),
    "huge": _scaled(1e38),
    "denormal": _scaled(1e-40),
    "huge and denormal": _scaled(1e38, 1e-42, 1.0),
    "infinite": _scaled(1.0, math.inf),
    "nan": _scaled(math.nan),
    "negative variance": _buffers_of_norm(0.0, -1.0),
    "no variance": _buffers_of_norm(1e38, 0.0),
    "double": lambda model: model.double(),
    "half": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "complex": lambda model: model.conv.to(torch.complex64),
    "meta": lambda model: model.to("meta"),
    "frozen": lambda model: model.requires_grad_(False),
    "parametrized": _parametrized,
    "in training": _in_training,
    "hooked": lambda model: model.conv.register_forward_hook(lambda m, args, y: y * 2),
    "no bias": lambda model: setattr(model.conv, "bias", None),
    "a bias too short": lambda model: setattr(model.conv, "bias", nn.Parameter(torch.ones(3))),
    "deleted": lambda model: delattr(model, "conv"),
}


def _everywhere(qconfig: Any) -> Callable[[], QConfigMapping]:
    return lambda: QConfigMapping().set_global(qconfig)


def _made(activation: Callable[[], Any], weight: Any = default_weight_observer) -> Callable[[], QConfigMapping]:
    return lambda: QConfigMapping().set_global(QConfig(activation(), weight))


MAPPINGS: dict[str, Callable[[], Any]] = {
    "default": get_default_qconfig_mapping,
    "qnnpack": lambda: get_default_qconfig_mapping("qnnpack"),
    "empty": QConfigMapping,
    "no mapping": lambda: None,
    "a name": lambda: "x86",
    "a qconfig": lambda: get_default_qconfig("x86"),
    "dict": lambda: {"": get_default_qconfig("x86")},
    "dict of nonsense": lambda: {"": 3, "module_name": [("conv", "linear")]},
    "dict with unknown keys": lambda: {"global": None},
    "unknown backend": lambda: get_default_qconfig_mapping("tpu"),
    "no such module": lambda: QConfigMapping().set_module_name("conv.conv", None),
    "broken regex": lambda: QConfigMapping().set_module_name_regex("(", None),
    "debug": _everywhere(default_debug_qconfig),
    "dynamic": _everywhere(default_dynamic_qconfig),
    "trained": _everywhere(default_qat_qconfig),
    "float16": _everywhere(float16_static_qconfig),
    "affine weights": _everywhere(default_quint8_weight_qconfig),
    "reuse": _everywhere(default_reuse_input_qconfig),
    "a number for a qconfig": _everywhere(3),
    "a tuple for a qconfig": _everywhere((MinMaxObserver, MinMaxObserver)),
    "a class for a qconfig": _everywhere(MinMaxObserver),
    "noop": _made(lambda: NoopObserver, NoopObserver),
    "placeholder": _made(lambda: PlaceholderObserver, PlaceholderObserver),
    "modules": _made(lambda: nn.ReLU, nn.ReLU),
    "functions": _made(lambda: lambda: None, lambda: MinMaxObserver),
    "raising": _made(lambda: lambda: 1 // 0),
    "int32": _made(lambda: MinMaxObserver.with_args(dtype=torch.int32)),
    "float dtype": _made(lambda: MinMaxObserver.with_args(dtype=torch.float64)),
    "no dtype": _made(lambda: MinMaxObserver.with_args(dtype=None)),
    "unknown argument": _made(lambda: MinMaxObserver.with_args(bits=8)),
    "per channel activations": _made(lambda: PerChannelMinMaxObserver),
    "symmetric activations": _made(lambda: MinMaxObserver.with_args(qscheme=torch.per_tensor_symmetric)),
    "no range": _made(lambda: MinMaxObserver.with_args(quant_min=3, quant_max=3)),
    "range upside down": _made(lambda: MinMaxObserver.with_args(quant_min=255, quant_max=0)),
    "range beyond": _made(lambda: MinMaxObserver.with_args(quant_min=-500, quant_max=70_000)),
    "half a range": _made(lambda: MinMaxObserver.with_args(quant_min=0)),
    "one bit": _made(lambda: MinMaxObserver.with_args(quant_min=0, quant_max=1)),
    "no bins": _made(lambda: HistogramObserver.with_args(bins=0)),
    "one bin": _made(lambda: HistogramObserver.with_args(bins=1)),
    "eps of nan": _made(lambda: MinMaxObserver.with_args(eps=math.nan)),
    "huge eps": _made(lambda: MinMaxObserver.with_args(eps=1e38)),
    "eps of zero": _made(lambda: MinMaxObserver.with_args(eps=0.0)),
    "fixed at nothing": _made(lambda: FixedQParamsObserver),
    "fixed at zero": _made(lambda: FixedQParamsObserver.with_args(scale=0.0, zero_point=0)),
    "fixed at infinity": _made(lambda: FixedQParamsObserver.with_args(scale=float("inf"), zero_point=0)),
    "fixed between codes": _made(lambda: FixedQParamsObserver.with_args(scale=0.1, zero_point=0.5)),
    "fixed at nan": _made(lambda: FixedQParamsObserver.with_args(scale=math.nan, zero_point=0)),
    "fixed and huge": _made(lambda: FixedQParamsObserver.with_args(scale=3e38, zero_point=0)),
    "fixed and denormal": _made(lambda: FixedQParamsObserver.with_args(scale=1e-44, zero_point=255)),
    "fixed far away": _made(lambda: FixedQParamsObserver.with_args(scale=1.0, zero_point=10**12)),
    "weights along no axis": _made(lambda: MinMaxObserver, PerChannelMinMaxObserver.with_args(ch_axis=7)),
    "weights along axis 1": _made(
        lambda: MinMaxObserver,
        PerChannelMinMaxObserver.with_args(ch_axis=1, dtype=torch.int8, qscheme=torch.per_channel_symmetric),
    ),
}

CUSTOM: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "quantized borders": lambda: {
        "prepare_custom_config": PrepareCustomConfig()
        .set_input_quantized_indexes([0])
        .set_output_quantized_indexes([0])
    },
    "an index that is not there": lambda: {
        "prepare_custom_config": PrepareCustomConfig().set_input_quantized_indexes([7])
    },
    "an index that is no number": lambda: {
        "prepare_custom_config": PrepareCustomConfig().set_input_quantized_indexes(["x"])  # type: ignore[list-item]
    },
    "a leaf": lambda: {"prepare_custom_config": PrepareCustomConfig().set_non_traceable_module_names(["conv"])},
    "a leaf that is not there": lambda: {
        "prepare_custom_config": PrepareCustomConfig().set_non_traceable_module_names(["cnv"])
    },
    "a standalone leaf": lambda: {
        "prepare_custom_config": PrepareCustomConfig().set_standalone_module_name("conv", None, (images(),), None, None)
    },
    "an attribute that is not there": lambda: {
        "prepare_custom_config": PrepareCustomConfig().set_preserved_attributes(["nobody"])
    },
    "a number": lambda: {"prepare_custom_config": 3},
    "a dict of nonsense": lambda: {"prepare_custom_config": {"nonsense": 3}},
    "a backend without patterns": lambda: {"backend_config": BackendConfig("none")},
    "a backend that is a name": lambda: {"backend_config": "x86"},
    "a backend of nonsense": lambda: {"backend_config": {"configs": 3}},
}


class Batch:
    """What is no tensor."""


INPUTS: dict[str, Callable[[Tensor], Any]] = {
    "right": lambda x: (x,),
    "by keyword": lambda x: {"x": x},
    "one image": lambda x: (x[:1],),
    "larger": lambda x: (F.pad(x, (0, 1, 2, 0)),),
    "no images": lambda x: (x[:0],),
    "no channels": lambda x: (x[:, :0],),
    "no width": lambda x: (x[..., :0],),
    "too many channels": lambda x: (torch.cat((x, x), 1),),
    "too few channels": lambda x: (x[:, :1],),
    "no batch": lambda x: (x[0],),
    "flat": lambda x: (x.flatten(),),
    "a number of no dimension": lambda x: (x.sum(),),
    "six dimensions": lambda x: (x[None, None],),
    "double": lambda x: (x.double(),),
    "half": lambda x: (x.half(),),
    "integers": lambda x: (x.long(),),
    "bytes": lambda x: (x.byte(),),
    "bools": lambda x: (x > 0,),
    "complex": lambda x: (x.to(torch.complex64),),
    "meta": lambda x: (x.to("meta"),),
    "sparse": lambda x: (x.to_sparse(),),
    "nested": lambda x: (torch.nested.nested_tensor([x[0], x[1, :2]]),),
    "a parameter": lambda x: (nn.Parameter(x),),
    "transposed": lambda x: (x.transpose(2, 3),),
    "expanded": lambda x: (x[:1, :, :1].expand(3, -1, SIZE, -1),),
    "reversed": lambda x: (x.flip(0)[::2],),
    "negated": lambda x: (torch._neg_view(x),),
    "huge": lambda x: (x * 1e38,),
    "denormal": lambda x: (x * 1e-42,),
    "zero": lambda x: (x * 0,),
    "nan": lambda x: (x * math.nan,),
    "infinite": lambda x: (x / 0,),
    "none": lambda x: (None,),
    "nothing": lambda x: (),
    "two": lambda x: (x, x),
    "another keyword": lambda x: {"image": x},
    "a list": lambda x: ([x, [x]],),
    "a dict": lambda x: ({"x": x},),
    "a string": lambda x: ("image",),
    "an array": lambda x: (x.numpy(),),
    "an object": lambda x: (Batch(),),
    "a module": lambda x: (nn.ReLU(),),
}
# Of the shape and dtype of the right one: what a model prepared with that must take.
LIKE_RIGHT = (
    "right",
    "by keyword",
    "a parameter",
    "transposed",
    "negated",
    "huge",
    "denormal",
    "zero",
    "nan",
    "infinite",
)
# What is handed over as a whole: in place of the example inputs, or of a batch.
ODD_INPUTS: dict[str, Callable[[Tensor], Any]] = {
    "a number for a keyword": lambda x: {3: x},
    "a tensor alone": lambda x: x,
    "the list": lambda x: [x],
    "no inputs": lambda x: None,
    "the number": lambda x: 3,
    "the object": lambda x: Batch(),
}
EXAMPLES = INPUTS | ODD_INPUTS
# `good` is the batch that fits, `other` another one.
DATA: dict[str, Callable[[Any, Any], Any]] = {
    "both": lambda good, other: [good, other],
    "it alone": lambda good, other: [other],
    "no batches": lambda good, other: [],
    "no data": lambda good, other: None,
    "a number": lambda good, other: 3,
    "once": lambda good, other: iter([good]),
}
