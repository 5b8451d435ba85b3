"""quantize_dynamic: which modules are replaced, and that the new ones compute what the old ones do."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from copies import copies_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

import fxquant
from fxquant import QConfig, QConfigMapping, convert_fx, dynamic, prepare_fx, quantize_dynamic
from fxquant.errors import ConfigError, ConfigWarning, InputError
from fxquant.observer import PerGroupMinMaxObserver, default_dynamic_quant_observer
from fxquant.ops.integer.linear import dynamic_linear
from fxquant.qconfig import (
    default_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
    get_default_qconfig,
    per_channel_dynamic_qconfig,
    per_channel_dynamic_qconfig_16bit,
    per_channel_weight_only_qconfig,
)
from fxquant.qparams import Dynamic, FloatOutput

RECURRENT: list[Any] = [
    (nn.LSTM, {}),
    (nn.LSTM, {"proj_size": 5}),
    (nn.LSTM, {"bias": False}),
    (nn.GRU, {}),
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu"}),
]
PER_CHANNEL: dict[Any, Any] = {"": per_channel_dynamic_qconfig}


def tensors(result: Any) -> list[Tensor]:
    """What a recurrence returns, in order."""
    if isinstance(result, Tensor):
        return [result]
    return [result.data] if hasattr(result, "batch_sizes") else [t for each in result for t in tensors(each)]


def assert_near(found: Any, expected: Any, atol: float = 0.05) -> None:
    for a, b in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16))
        self.rnn = nn.LSTM(16, 8, batch_first=True)
        self.cell = nn.GRUCell(8, 8)
        self.head = nn.Linear(8, 3)
        self.table = nn.Embedding(10, 8)

    def forward(self, ids: Tensor) -> Tensor:
        y, _ = self.rnn(self.encoder(self.table(ids)))
        h = None
        for step in y.unbind(1):
            h = self.cell(step, h)
        return self.head(h) if float(y.detach().sum()) > -1e9 else y  # no tracer follows this


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def test_the_default_replaces_products_and_leaves_the_model_alone() -> None:
    model = Classifier().eval()
    before = copy.deepcopy(model.state_dict())
    quantized = quantize_dynamic(model)
    kinds = {name: type(module) for name, module in quantized.named_modules()}
    assert [kinds[name] for name in ("encoder.0", "encoder.2", "head")] == [dynamic.Linear] * 3
    assert (kinds["rnn"], kinds["cell"]) == (dynamic.LSTM, dynamic.GRUCell)
    assert kinds["table"] is nn.Embedding
    assert_near(quantized(IDS), model(IDS))
    assert type(model.head) is nn.Linear
    assert not hasattr(model.head, "qconfig")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert quantize_dynamic(model, inplace=True) is model
    assert type(model.head) is dynamic.Linear


@pytest.mark.parametrize(
    ("spec", "replaced"),
    [
        ({nn.LSTM}, ["rnn"]),
        ({"encoder"}, ["encoder.0", "encoder.2"]),
        (["encoder.2", nn.GRUCell], ["encoder.2", "cell"]),
        ({"": default_dynamic_qconfig, "rnn": None}, ["encoder.0", "encoder.2", "cell", "head"]),
        ({nn.Linear: default_dynamic_qconfig, "head": None}, ["encoder.0", "encoder.2"]),
        ({nn.Embedding: float_qparams_weight_only_qconfig}, ["table"]),
    ],
)
def test_what_is_named(spec: Any, replaced: list[str]) -> None:
    quantized = quantize_dynamic(Classifier(), spec)
    ours = [name for name, module in quantized.named_modules() if type(module).__module__.startswith("fxquant.dynamic")]
    assert ours == replaced


def test_instances_shared_modules_and_own_qconfigs() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].qconfig = per_channel_dynamic_qconfig
    quantized = quantize_dynamic(model, {shared: default_dynamic_qconfig})
    assert quantized[0] is quantized[2]
    assert [type(module) for module in quantized] == [
        dynamic.Linear,
        nn.ReLU,
        dynamic.Linear,
        dynamic.Linear,
        nn.Linear,
    ]


def test_no_float_weight_is_copied_that_becomes_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[torch.Size] = []
    original = nn.Parameter.__deepcopy__

    def counting(self: Any, memo: Any) -> Any:
        copied.append(self.shape)
        return original(self, memo)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(nn.Parameter, "__deepcopy__", counting)
    quantize_dynamic(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4), nn.LSTM(4, 4)))
    assert copied == [torch.Size([4])] * 2


def test_hooks_stay() -> None:
    model = nn.Sequential(nn.Linear(8, 4))
    seen: list[str] = []
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    quantize_dynamic(model)(torch.zeros(1, 8))
    assert seen == ["before", "after"]


def test_own_classes_take_part_by_from_float() -> None:
    class Mine(nn.Module):
        @classmethod
        def from_float(cls, module: Any) -> Mine:
            assert module.qconfig is not None
            return cls()

    quantized = quantize_dynamic(nn.Sequential(nn.Conv2d(1, 1, 1)), {nn.Conv2d}, mapping={nn.Conv2d: Mine})
    assert isinstance(quantized[0], Mine)


@pytest.mark.parametrize(
    ("spec", "dtype", "message"),
    [
        ({"encodr"}, torch.int8, "no module is called 'encodr'; did you mean encoder"),
        ({"head": 3}, torch.int8, "expected a QConfig"),
        ({nn.Linear(1, 1)}, torch.int8, "is no module of the model"),
        ({3}, torch.int8, "module classes, names and instances, not 3"),
        ("head", torch.int8, "a set of classes, names and instances, not 'head'"),
        (torch.tensor(1), torch.int8, r"a set of classes, names and instances, not tensor\(1\)"),
        (
            {"head": get_default_qconfig()},
            torch.int8,
            "head, a Linear, cannot be quantized: its qconfig is not dynamic",
        ),
        ({"table": default_dynamic_qconfig}, torch.int8, "table, a Embedding, .* it reads no activations"),
    ],
)
def test_refusals(spec: Any, dtype: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quantize_dynamic(Classifier(), spec, dtype)


def test_says_what_stays_float_although_it_was_named() -> None:
    with pytest.warns(ConfigWarning, match="0, a BatchNorm1d: stays float, since it has no dynamic form"):
        quantize_dynamic(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)), {nn.BatchNorm1d, nn.Linear})


@pytest.mark.parametrize("qconfig", [default_dynamic_qconfig, per_channel_dynamic_qconfig])
def test_linear_is_the_op(qconfig: Any) -> None:
    model, x = nn.Sequential(nn.Linear(20, 7)), torch.randn(2, 5, 20)
    quantized: Any = quantize_dynamic(model, {"": qconfig})[0]
    weight = quantized.weight()
    scales = weight.q_per_channel_scales()
    expected = dynamic_linear(x, weight.int_repr(), scales, quantized.bias(), Dynamic(), FloatOutput())
    assert torch.equal(quantized(x), expected)
    torch.testing.assert_close(
        weight.dequantize(), model[0].weight.detach(), rtol=0, atol=float(scales.max()) / 2 + 1e-7
    )
    if qconfig is default_dynamic_qconfig:
        assert weight.q_scale() == pytest.approx(float(model[0].weight.abs().max()) / 127)
    else:
        with pytest.raises(ConfigError, match="a scale for each output"):
            weight.q_scale()
    in_graph = convert_fx(prepare_fx(model.eval(), QConfigMapping().set_global(qconfig), (x,)))
    assert torch.equal(in_graph(x), expected)
    assert "in_features=20, out_features=7, dtype=torch.int8" in repr(quantized)


@pytest.mark.parametrize(("kind", "options"), RECURRENT)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_modules(kind: Any, options: dict[str, Any], bidirectional: bool, batch_first: bool) -> None:
    model = kind(12, 20, 2, bidirectional=bidirectional, batch_first=batch_first, dropout=0.5, **options).eval()
    quantized = quantize_dynamic(model, PER_CHANNEL)
    x = torch.randn(4, 7, 12)
    batch, layers = (4 if batch_first else 7), 2 * (1 + bidirectional)
    h, c = torch.randn(layers, batch, options.get("proj_size", 20)) * 0.3, torch.randn(layers, batch, 20) * 0.3
    states = (h, c) if kind is nn.LSTM else h
    lengths = torch.randint(1, x.shape[1 if batch_first else 0] + 1, (batch,))
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    for given in ((x,), (x, states), (packed,), (packed, states), (x[:, 0],)):
        assert_near(quantized(*given), model(*given))


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind: Any) -> None:
    model = kind(6, 9).eval()
    quantized = quantize_dynamic(model, PER_CHANNEL)
    x, h = torch.randn(3, 6), torch.randn(3, 9)
    states = (h, torch.randn(3, 9)) if kind is nn.LSTMCell else h
    for given in ((x,), (x, states), (x[0],)):
        assert_near(quantized(*given), model(*given))


def test_recurrent_modules_are_those_of_graph_mode() -> None:
    model, x = nn.LSTM(6, 8, 2, bidirectional=True).eval(), torch.randn(5, 3, 6)
    in_graph = convert_fx(prepare_fx(model, QConfigMapping().set_global(default_dynamic_qconfig), (x,)))
    for a, b in zip(tensors(in_graph(x)), tensors(quantize_dynamic(model)(x)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_of_their_own_settings(kind: Any) -> None:
    model, x = kind(6, 8, 2, bidirectional=True).eval(), torch.randn(5, 3, 6)
    names = [f"l{i}{end}" for i in range(2) for end in ("", "_reverse")]
    stay: dict[Any, Any] = {"": default_dynamic_qconfig, "l0": None, "l1_reverse": None}
    quantized = quantize_dynamic(model, stay)
    assert [type(quantized.get_submodule(name)).__name__ for name in names] == [
        *("FloatLayer", "DynamicRecurrentStates"),
        *("DynamicRecurrentStates", "FloatLayer"),
    ]
    assert_near(quantized(x), model(x))
    all_float = quantize_dynamic(model, {"": default_dynamic_qconfig, **dict.fromkeys(names)})
    assert_near(all_float(x, None), model(x, None), 1e-6)
    with pytest.raises(ConfigError, match="no module is called 'l2'"):
        quantize_dynamic(model, {"": default_dynamic_qconfig, "l2": None})


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_weights_of_16_bits(kind: Any) -> None:
    model, x = kind(6, 24, 2, bidirectional=True).eval(), torch.randn(9, 3, 6) * torch.logspace(-4, 0, 6)
    with torch.no_grad():
        model.weight_ih_l0 *= torch.logspace(4, 0, 6)  # 8 bits for a whole row lose most of such inputs
        model.weight_hh_l0[::3] *= 0.01
    eight = quantize_dynamic(model, {kind: per_channel_dynamic_qconfig})
    spec: dict[Any, Any] = {kind: per_channel_dynamic_qconfig_16bit}
    sixteen = quantize_dynamic(model, spec)
    restored = quantize_dynamic(kind(6, 24, 2, bidirectional=True), spec)
    restored.load_state_dict(sixteen.state_dict())
    distance = [float((quantized(x)[0] - model(x)[0]).abs().max().detach()) for quantized in (eight, sixteen)]
    assert distance[1] < 0.01 < 0.03 < distance[0]
    assert torch.equal(restored(x)[0], sixteen(x)[0])
    with pytest.raises(InputError, match=r"takes float32 \[steps, batch, 6\]"):
        sixteen(x[..., :5])
    packed = pack_padded_sequence(x, [9, 5, 2])
    assert_near(sixteen(packed)[0].data, model(packed)[0].data, 0.01)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}]
)
def test_weights_of_16_bits_in_graph_mode(kind: Any, options: dict[str, Any], tmp_path: Any) -> None:
    model, x = nn.Sequential(kind(6, 24, **options)).eval(), torch.randn(9, 3, 6) * torch.logspace(-4, 0, 6)
    mapping = fxquant.QConfigMapping().set_global(per_channel_dynamic_qconfig_16bit)
    in_graph = fxquant.convert_fx(fxquant.prepare_fx(model, mapping, (x,)))
    found = {row.op: row.precision for row in fxquant.explain(in_graph).rows}
    assert found["DynamicTwoByteRecurrentStates"] == "dynamic"
    eager = quantize_dynamic(model, {kind: per_channel_dynamic_qconfig_16bit})
    for quantized in (in_graph, *copies_of(in_graph, tmp_path)):
        for one, other in zip(tensors(quantized(x)), tensors(eager(x)), strict=True):
            assert torch.equal(one, other)
    assert_near(in_graph(x[:5])[0], model(x[:5])[0], 0.01)


def test_weights_of_16_bits_that_no_kernel_takes_stay_float_in_graph_mode() -> None:
    weight = fxquant.PerChannelMinMaxObserver.with_args(dtype=torch.int16, qscheme=torch.per_channel_symmetric)
    wide = fxquant.QConfig(per_channel_dynamic_qconfig.activation, weight)
    mapping = fxquant.QConfigMapping().set_global(per_channel_dynamic_qconfig_16bit).set_module_name("0", wide)
    model = nn.Sequential(nn.GRU(6, 8), Picked(), nn.Linear(8, 8)).eval()
    quantized = fxquant.convert_fx(fxquant.prepare_fx(model, mapping, (torch.randn(5, 3, 6),)))
    reasons = {row.op: row.reason for row in fxquant.explain(quantized).rows}
    assert "within -32512..32512" in reasons["recurrent"]
    assert reasons["linear"] == "its qconfig asks for torch.int16 weights; kernels take int8"


class Picked(nn.Module):
    def forward(self, states: Any) -> torch.Tensor:
        y: torch.Tensor = states[0]
        return y


def test_weights_of_16_bits_are_refused_where_there_is_no_kernel() -> None:
    with pytest.raises(ConfigError, match="int16 weights; kernels take int8"):
        quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear: per_channel_dynamic_qconfig_16bit})
    with pytest.warns(ConfigWarning, match="stays float, since a layer with projections has no form with weights"):
        quantize_dynamic(nn.LSTM(4, 6, proj_size=3), {nn.LSTM: per_channel_dynamic_qconfig_16bit})
    with pytest.raises(ConfigError, match="projections has no form with weights"):
        quantize_dynamic(
            nn.LSTM(4, 6, proj_size=3), {nn.LSTM: default_dynamic_qconfig, "l0": per_channel_dynamic_qconfig_16bit}
        )


def test_one_module_that_stays_float_does_not_stop_the_others() -> None:
    bags = nn.ModuleList([nn.EmbeddingBag(9, 8, mode="max"), nn.EmbeddingBag(9, 8), nn.Embedding(9, 8, max_norm=1.0)])
    with pytest.warns(ConfigWarning, match="stays float") as told:
        quantized = quantize_dynamic(bags, dtype=torch.uint8)
    assert [type(bag) for bag in quantized] == [nn.EmbeddingBag, dynamic.EmbeddingBag, nn.Embedding]
    assert {str(each.message) for each in told} == {
        "0, a EmbeddingBag: stays float, since rows of integers give sums and means, not maxima",
        "2, a Embedding: stays float, since it rescales its own weights, by max_norm",
    }


def test_weights_of_16_bits_have_bounds() -> None:
    weight = fxquant.PerChannelMinMaxObserver.with_args(dtype=torch.int16, qscheme=torch.per_channel_symmetric)
    wide = fxquant.QConfig(per_channel_dynamic_qconfig.activation, weight)
    with pytest.raises(ConfigError, match=r"within -32512\.\.32512"):
        quantize_dynamic(nn.LSTM(4, 6), {nn.LSTM: wide})


def test_embeddings() -> None:
    model = nn.Sequential(nn.Embedding(50, 16))
    eight = quantize_dynamic(model, dtype=torch.uint8)
    assert_near(eight(IDS), model(IDS), 0.02)
    bags = nn.Sequential(nn.EmbeddingBag(50, 16, mode="sum", padding_idx=2))
    four: Any = quantize_dynamic(bags, {nn.EmbeddingBag: fxquant.float_qparams_weight_only_qconfig_4bit})
    assert four[0].constant("rows").shape == (50, 8)
    offsets = torch.tensor([0, 2])
    assert_near(four[0](IDS.flatten(), offsets), bags[0](IDS.flatten(), offsets), 0.9)
    with pytest.raises(ConfigError, match="sums and means"):
        dynamic.EmbeddingBag.from_float(nn.EmbeddingBag(5, 4, mode="max"))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_transformer_layers_of_torch() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    quantized = quantize_dynamic(model, PER_CHANNEL)
    x, padding = torch.randn(3, 5, 16), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    assert_near(quantized(x), model(x))
    with torch.no_grad():
        assert_near(
            quantized(x, src_key_padding_mask=padding)[~padding], model(x, src_key_padding_mask=padding)[~padding]
        )


def test_state_dict_pickle_and_copies() -> None:
    torch.manual_seed(3)
    quantized, other = quantize_dynamic(Classifier()), quantize_dynamic(Classifier())
    y = quantized(IDS)
    assert not torch.equal(other(IDS), y)
    keys = other.load_state_dict(quantized.state_dict())
    assert not keys.missing_keys
    for each in (other, copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(each(IDS), y)


def test_runs_under_torch_compile_and_export() -> None:
    quantized, x = quantize_dynamic(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))), torch.randn(2, 8)
    assert torch.equal(torch.export.export(quantized, (x,)).module()(x), quantized(x))


@pytest.mark.parametrize(
    ("module", "wrong", "message"),
    [
        (nn.Linear(4, 4), torch.zeros(2, 5), "another in_features"),
        (nn.Linear(4, 4), torch.zeros(2, 4).double(), "float32"),
        (nn.Linear(4, 4), torch.zeros(2, 4, device="meta"), "a tensor on meta"),
        (nn.Linear(4, 4), None, "a NoneType; pass a float32 tensor"),
        (nn.LSTM(4, 4), torch.zeros(2, 3, 5), "takes float32 \\[steps, batch, 4\\]"),
        (nn.LSTM(4, 4), torch.zeros(4), "batched or not"),
        (nn.GRUCell(4, 4), torch.zeros(2, 5), "takes float32"),
    ],
)
def test_wrong_inputs(module: nn.Module, wrong: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantize_dynamic(module)(wrong)


def test_wrong_states() -> None:
    with pytest.raises(InputError, match="there are 2 initial states"):
        quantize_dynamic(nn.GRU(4, 4, 2))(torch.zeros(3, 1, 4), torch.zeros(1, 1, 4))


class ReadsWeights(nn.Module):
    """Passes the weights of its linear modules to functions, as window attention of Swin v2 and BEiT's does."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48, bias=bias), nn.Linear(16, 16)
        self.q_bias = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> Tensor:
        if self.qkv.bias is not None:
            bias = self.qkv.bias.clone()
            bias[16:32].zero_()
        bias = torch.cat((self.q_bias, torch.zeros(32))) if self.q_bias is not None else bias
        q, k, v = F.linear(x.to(self.proj.weight.dtype), self.qkv.weight, bias).chunk(3, -1)
        y = F.linear(input=q * k + v, weight=self.proj.weight, bias=self.proj.bias)
        return F.linear(y, self.proj.weight) + y @ self.proj.weight.t() + torch.matmul(y, self.proj.weight[:16] * 2)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "qconfig",
    [
        default_dynamic_qconfig,
        per_channel_weight_only_qconfig,
        QConfig(default_dynamic_quant_observer, PerGroupMinMaxObserver.with_args(group_size=8)),
    ],
)
def test_a_model_may_read_the_weights_of_its_modules(bias: bool, qconfig: QConfig, tmp_path: Any) -> None:
    model, x = ReadsWeights(bias).eval(), torch.randn(5, 16)
    quantized = quantize_dynamic(model, {nn.Linear: qconfig})
    qkv = quantized.get_submodule("qkv")
    assert_near(quantized(x), model(x), atol=0.35)
    for again in (pickle.loads(pickle.dumps(quantized)), copy.deepcopy(quantized)):
        assert torch.equal(again(x), quantized(x))
    assert torch.equal(F.linear(x, qkv.weight, qkv.bias), qkv(x))
    other = torch.randn(48)
    torch.testing.assert_close(F.linear(x, qkv.weight, other), qkv(x) - qkv.bias() + other)
    torch.testing.assert_close(F.linear(x, qkv.weight), qkv(x) - qkv.bias())
    assert (qkv.weight.shape, qkv.weight.dtype, len(qkv.bias)) == ((48, 16), torch.float32, 48)
    assert not isinstance(qkv.weight, Tensor)


def test_weights_that_are_read_are_not_written() -> None:
    linear: Any = quantize_dynamic(nn.Sequential(nn.Linear(4, 3)))[0]
    for write in (
        lambda: linear.weight.data.zero_(),
        lambda: linear.bias.fill_(1.0),
        lambda: nn.init.zeros_(linear.weight),
        lambda: torch.add(torch.ones(3), 1, out=linear.bias),
    ):
        with pytest.raises(InputError, match=r"may write to the .* of DynamicQuantizedLinear.* change the float model"):
            write()


def test_the_weight_of_a_convolution_is_read_as_floats() -> None:
    conv = nn.Conv2d(3, 4, 3)
    quantized: Any = quantize_dynamic(nn.Sequential(conv), {nn.Conv2d: per_channel_dynamic_qconfig})[0]
    x = torch.randn(1, 3, 8, 8)
    assert_near(F.conv2d(x, quantized.weight, quantized.bias), conv(x))
    assert torch.equal(
        F.conv2d(x, quantized.weight, quantized.bias), F.conv2d(x, quantized.weight().dequantize(), quantized.bias())
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_of_a_recurrent_module_are_one_program(kind: Any) -> None:
    model, x = kind(6, 24, 2, bidirectional=True).eval(), torch.randn(9, 3, 6)
    qconfigs = {kind: per_channel_dynamic_qconfig, "l0": per_channel_dynamic_qconfig_16bit}
    quantized: Any = quantize_dynamic(model, qconfigs)
    states = torch.randn(2, 4, 3, 24)
    given = (states[0], states[1]) if kind is nn.LSTM else states[0]
    seen: list[Any] = []
    for inputs in ((x,), (x, given), (x[:1], given), (x.transpose(0, 1).contiguous().transpose(0, 1),)):
        one_program = tensors(quantized(*inputs))
        handle = quantized.l0.register_forward_hook(lambda *_: seen.append(1))
        by_layer = tensors(quantized(*inputs))
        handle.remove()
        for same in (quantized, copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
            for each, one, other in zip(tensors(same(*inputs)), one_program, by_layer, strict=True):
                assert torch.equal(one, other)
                assert torch.equal(each, other)
    assert len(seen) == 4
    regions = [region for region in quantized.made_regions.values() if region is not None]
    assert [len(region.programs.plans) for region in regions] == [2, 2]
    assert not any("region" in name for name, _ in quantized.named_modules())
