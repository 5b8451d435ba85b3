"""nn.LSTM, nn.GRU, nn.RNN and their cells, from the user's module to int8."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from regions import assert_same, node_by_node, quantized
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils._pytree import tree_leaves

import fxquant
from fxquant import (
    QConfig,
    QConfigMapping,
    calibrate,
    convert_fx,
    default_quint8_weight_qconfig,
    default_weight_only_qconfig,
    explain,
    float16_dynamic_qconfig,
    get_default_qat_qconfig_mapping,
    get_default_qconfig,
    get_default_qconfig_mapping,
    ops,
    per_channel_dynamic_qconfig,
    per_channel_dynamic_qconfig_16bit,
    prepare_fx,
    prepare_qat_fx,
    quantize_dynamic,
)
from fxquant.analysis.explain import Explanation
from fxquant.dynamic.recurrent import LSTM, Recurrent
from fxquant.errors import InputError
from fxquant.runtime.layers import Int8Recurrent, Int8RecurrentStates

SEQUENCES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lstm": (lambda: nn.LSTM(20, 32), (7, 3, 20)),
    "lstm_layers": (lambda: nn.LSTM(20, 32, 3, batch_first=True, dropout=0.4), (3, 7, 20)),
    "lstm_both_ways": (lambda: nn.LSTM(20, 32, 2, bidirectional=True), (7, 3, 20)),
    "lstm_without_bias": (lambda: nn.LSTM(20, 32, bias=False), (7, 3, 20)),
    "lstm_unbatched": (lambda: nn.LSTM(20, 32, 2, bidirectional=True, batch_first=True), (7, 20)),
    "gru": (lambda: nn.GRU(20, 32, 2), (7, 3, 20)),
    "gru_both_ways": (lambda: nn.GRU(20, 32, bidirectional=True, batch_first=True), (3, 7, 20)),
    "rnn_tanh": (lambda: nn.RNN(20, 32, 2), (7, 3, 20)),
    "rnn_relu": (lambda: nn.RNN(20, 32, nonlinearity="relu", bias=False), (7, 3, 20)),
}
CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


class Read(nn.Module):
    """A recurrent module of which `code` reads something."""

    def __init__(self, module: nn.Module, code: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.code = code

    def forward(self, x: Any, h: Any = None, c: Any = None) -> Any:
        return self.code(self.module, x, *(s for s in (h, c) if s is not None))


class Unrolled(nn.Module):
    """A cell, step by step."""

    def __init__(self, cell: Any, given: bool) -> None:
        super().__init__()
        self.cell = cell
        self.given = given
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        if self.given:
            state = torch.zeros(x.shape[1], 32)
            state = (state, state) if isinstance(self.cell, nn.LSTMCell) else state
        for t in range(5):
            state = self.cell(x[t]) if state is None else self.cell(x[t], state)
        h: Tensor = self.head(state[0] if isinstance(state, tuple) else state)
        return h


def sqnr(real: Tensor, other: Tensor) -> float:
    return float(10 * torch.log10(real.pow(2).mean() / (real - other).pow(2).mean()))


def layers_of(model: nn.Module) -> list[Int8RecurrentStates]:
    return [module for module in model.modules() if isinstance(module, Int8RecurrentStates)]


def reasons(explanation: Explanation) -> dict[str, str]:
    return {row.op: row.reason for row in explanation.float_rows}


def assert_near(model: nn.Module, converted: nn.Module, *inputs: Tensor, least: float = 28.0) -> None:
    for real, found in zip(tree_leaves(model(*inputs)), tree_leaves(converted(*inputs)), strict=True):
        assert real.shape == found.shape
        assert sqnr(real, found) > least


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_layer_and_direction_is_an_int8_layer(name: str) -> None:
    make, shape = SEQUENCES[name]
    model, x = Read(make().eval(), lambda m, x: m(x)[0]).eval(), torch.randn(shape)
    converted = quantized(model, x)
    module: Any = model.module
    assert len(layers_of(converted)) == module.num_layers * (1 + module.bidirectional)
    assert not explain(converted).float_rows
    with torch.no_grad():
        assert_near(model, converted, x)
        assert_same(converted(x), node_by_node(converted, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENCES)
def test_states_that_are_given_and_read(name: str) -> None:
    make, shape = SEQUENCES[name]
    module: Any = make().eval()
    count = module.num_layers * (1 + module.bidirectional)
    batch = shape[1 - module.batch_first : 2 - module.batch_first] if len(shape) == 3 else ()
    states = [torch.rand(count, *batch, 32) - 0.5 for _ in range(1 + isinstance(module, nn.LSTM))]
    model = Read(module, lambda m, x, *s: m(x, s if len(s) == 2 else s[0])).eval()
    x = torch.randn(shape)
    converted = quantized(model, x, *states)
    assert len(layers_of(converted)) == count
    with torch.no_grad():
        assert_near(model, converted, x, *states)


def test_sequences_of_any_length_and_batch() -> None:
    model = Read(nn.LSTM(20, 32, 2, batch_first=True), lambda m, x: m(x)[0]).eval()
    converted = quantized(model, torch.randn(3, 50, 20))
    for shape in ((1, 1, 20), (5, 20, 20), (2, 90, 20)):
        assert_near(model, converted, torch.randn(shape), least=20.0)
    assert converted(torch.randn(0, 4, 20)).shape == (0, 4, 32)


def test_a_sequence_in_chunks_is_the_sequence() -> None:
    """The cell state goes on exactly, and hidden states are the codes that the next step would have read."""

    def code(m: Any, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return m(x, (h, c))

    x, zeros = torch.randn(10, 2, 20), torch.zeros(2, 2, 32)
    converted = quantized(Read(nn.LSTM(20, 32, 2), code), x, zeros, zeros)
    whole, (h, c) = converted(x, zeros, zeros)
    first, (h1, c1) = converted(x[:4], zeros, zeros)
    second, (h2, c2) = converted(x[4:], h1, c1)
    assert_same((torch.cat([first, second]), h2, c2), (whole, h, c))


def test_the_last_layer_alone_needs_no_scale_in_common_with_others() -> None:
    converted = quantized(Read(nn.LSTM(20, 32, 3), lambda m, x: m(x)[1][0][-1]), torch.randn(9, 2, 20))
    scales = {layer.constant("h_scale") for layer in layers_of(converted)}
    assert len(scales) == 3
    joint = quantized(Read(nn.LSTM(20, 32, 3), lambda m, x: m(x)[1][0]), torch.randn(9, 2, 20))
    assert len({layer.constant("h_scale") for layer in layers_of(joint)}) == 1


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_cells_step_by_step(kind: str, given: bool) -> None:
    model, x = Unrolled(CELLS[kind](20, 32), given).eval(), torch.randn(5, 3, 20)
    converted = quantized(model, x)
    assert len(layers_of(converted)) == 5
    assert len({layer.constant("h_scale") for layer in layers_of(converted)}) == 1
    with torch.no_grad():
        assert_near(model, converted, x, least=25.0)


def test_a_cell_without_a_batch() -> None:
    model, x = Read(nn.GRUCell(20, 32), lambda m, x: m(x)).eval(), torch.randn(20)
    converted = quantized(model, x)
    assert_near(model, converted, x)
    assert len(layers_of(converted)) == 1


def test_a_module_alone() -> None:
    for module in (nn.LSTM(20, 32, 2, bidirectional=True), nn.GRU(20, 32), nn.RNN(20, 32, nonlinearity="relu")):
        x = torch.randn(7, 3, 20)
        converted = quantized(module.eval(), x)
        assert layers_of(converted)
        assert_near(module, converted, x)


def test_what_stays_float_says_why() -> None:
    x = torch.randn(7, 3, 20)
    mapping = get_default_qconfig_mapping().set_object_type(nn.LSTM, None)
    projected = quantized(Read(nn.LSTM(20, 32, proj_size=8), lambda m, x: m(x)[0]), x, mapping=mapping)
    assert "proj_size" in reasons(explain(projected))["LSTM"]
    cells = quantized(Read(nn.LSTM(20, 32), lambda m, x: m(x)[1][1]), x)
    assert reasons(explain(cells))["recurrent"] == "only its last state is read, of what it computes"
    states = quantized(Read(nn.LSTM(20, 32), lambda m, x: m(x)), x)
    assert len(layers_of(states)) == 1
    assert "no scale bounds them" in " ".join(reasons(explain(states)).values())
    mapping = get_default_qconfig_mapping().set_object_type(nn.LSTM, None)
    left = quantized(Read(nn.LSTM(20, 32), lambda m, x: m(x)[0]), x, mapping=mapping)
    assert "qconfig is None" in reasons(explain(left))["recurrent"]
    weights = get_default_qconfig_mapping().set_object_type(nn.LSTM, default_weight_only_qconfig)
    left = quantized(Read(nn.LSTM(20, 32), lambda m, x: m(x)[0]), x, mapping=weights)
    assert reasons(explain(left))["recurrent"]
    assert torch.equal(left(x), left(x))


class Packed(nn.Module):
    """Of sequences of several lengths all outputs, and the last states of the last layer."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.before, self.module, self.head = nn.Linear(20, 20), module, nn.LazyLinear(4)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = pack_padded_sequence(self.before(x), lengths, batch_first=True, enforce_sorted=False)
        y, states = self.module(packed)
        y, _ = pad_packed_sequence(y, batch_first=True)
        return self.head(y), states[0][-1] if isinstance(states, tuple) else states[-1]


SEVERAL_LENGTHS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(20, 32, batch_first=True),
    "lstm_projected": lambda: nn.LSTM(20, 32, 2, bidirectional=True, proj_size=8),
    "gru": lambda: nn.GRU(20, 32, 2, bidirectional=True),
    "rnn": lambda: nn.RNN(20, 32, nonlinearity="relu", bias=False),
}


def dynamic_rows(model: nn.Module) -> list[str]:
    return [row.op for row in explain(model).rows if row.precision == "dynamic"]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", SEVERAL_LENGTHS)
def test_a_packed_sequence_meets_int8_weights(name: str, dynamic: bool, tmp_path: Path) -> None:
    model, inputs = Packed(SEVERAL_LENGTHS[name]()).eval(), (torch.randn(3, 7, 20), torch.tensor([7, 2, 4]))
    with torch.no_grad():
        model(*inputs)
    mapping = get_default_qconfig_mapping()
    if dynamic:
        mapping = mapping.set_module_name("module", per_channel_dynamic_qconfig)
    before = copy.deepcopy(model.state_dict())
    converted = quantized(model, *inputs, mapping=mapping)
    assert dynamic_rows(converted) == [type(model.module).__name__]
    assert isinstance(converted.get_submodule("module"), Recurrent)
    assert {row.op for row in explain(converted).rows if row.precision == "int8"} >= {"Int8Linear"}
    other = torch.randn(4, 9, 20), torch.tensor([1, 9, 3, 3])
    with torch.no_grad():
        assert_near(model, converted, *inputs)
        assert_near(model, converted, *other, least=25.0)
        fxquant.save(converted, tmp_path / "saved")
        loaded = fxquant.load(tmp_path / "saved")
        assert_same(loaded(*other), converted(*other))
        assert explain(loaded).rows == explain(converted).rows
        assert_same(copy.deepcopy(converted)(*other), converted(*other))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
def test_projections_meet_int8_weights(options: dict[str, Any]) -> None:
    model, x = Read(nn.LSTM(20, 32, proj_size=8, **options), lambda m, x: m(x)).eval(), torch.randn(7, 3, 20)
    converted = quantized(model, x)
    assert dynamic_rows(converted) == ["LSTM"]
    with torch.no_grad():
        assert_near(model, converted, x)
    with pytest.raises(InputError, match=r"\[steps, batch, 20\], got torch.float32 \[7, 3, 19\]"):
        converted(torch.randn(7, 3, 19))
    with pytest.raises(InputError, match="one step at least"):
        converted(torch.randn(0, 3, 20))
    fresh = quantized(Read(nn.LSTM(20, 32, proj_size=8, **options), lambda m, x: m(x)), torch.randn(7, 3, 20))
    fresh.load_state_dict(converted.state_dict())
    assert_same(fresh(x), converted(x))


@pytest.mark.parametrize("qconfig", [per_channel_dynamic_qconfig, per_channel_dynamic_qconfig_16bit])
def test_states_that_come_as_one_argument(qconfig: QConfig, tmp_path: Path) -> None:
    module, x = nn.LSTM(20, 32, 2).eval(), torch.randn(7, 3, 20)
    states = (torch.randn(2, 3, 32), torch.randn(2, 3, 32))
    model = Read(module, lambda m, x, states: m(x, states)).eval()
    converted = quantized(model, x, states, mapping=QConfigMapping().set_global(qconfig))
    assert dynamic_rows(converted) == ["LSTM"]
    y, (h, c) = quantize_dynamic(module, {nn.LSTM: qconfig})(x, states)
    assert_same(converted(x, states), (y, (h, c)))
    fxquant.save(converted, tmp_path / "model.fxq")
    assert_same(fxquant.load(tmp_path / "model.fxq")(x, states), (y, (h, c)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_the_layer_of_projections_is_its_op(reverse: bool, given: bool) -> None:
    module = LSTM(nn.LSTM(20, 32, proj_size=8, bidirectional=True), per_channel_dynamic_qconfig, {})
    layer: Any = module.get_submodule("l0_reverse" if reverse else "l0")
    states = (torch.randn(3, 8), torch.randn(3, 32)) if given else (None, None)
    names = [f"{kind}_{s}" for kind in ("weight", "multiplier") for s in ("ih", "hh", "hr")]
    constants = {name: layer.constant(name) for name in (*names, "bias_ih", "reverse", "dynamic")}
    x = torch.randn(7, 3, 20)
    assert_same(layer(x, *states), ops.dynamic_projected_states(x, h0=states[0], c0=states[1], **constants))


def test_sequences_that_stay_float_say_why() -> None:
    inputs = (torch.randn(3, 7, 20), torch.tensor([7, 2, 4]))

    def reason(module: nn.Module, mapping: QConfigMapping) -> str:
        model = Packed(module).eval()
        model(*inputs)
        return reasons(explain(quantized(model, *inputs, mapping=mapping)))[type(module).__name__]

    default = get_default_qconfig_mapping()
    assert "PackedSequence" in reason(nn.LSTM(20, 32), default.set_object_type(nn.LSTM, None))
    weights = QConfig(get_default_qconfig().activation, default_quint8_weight_qconfig.weight)
    assert "torch.uint8 weights" in reason(nn.GRU(20, 32), default.set_object_type(nn.GRU, weights))
    fine, half = (
        QConfigMapping().set_global(each) for each in (per_channel_dynamic_qconfig_16bit, float16_dynamic_qconfig)
    )
    assert "projections has no form with weights of 16 bits" in reason(nn.LSTM(20, 32, proj_size=8), fine)
    assert "with float16 weights it has no projections, no packed sequence" in reason(nn.LSTM(20, 32), half)
    model = Packed(nn.LSTM(20, 32)).train()
    model(*inputs)
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), inputs)
    prepared(*inputs)
    assert "quantized training" in reasons(explain(convert_fx(prepared.eval())))["LSTM"]


def test_errors_name_the_place() -> None:
    converted = quantized(Read(nn.LSTM(20, 32, batch_first=True), lambda m, x: m(x)[0]), torch.randn(3, 7, 20))
    with pytest.raises(InputError, match=r"module.*\[steps, batch, 20\].*\[7, 3, 19\]"):
        converted(torch.randn(3, 7, 19))
    with pytest.raises(InputError, match="one step at least"):
        converted(torch.randn(3, 0, 20))


def test_a_finished_model_is_a_normal_one() -> None:
    model, x = Read(nn.LSTM(20, 32, 2, bidirectional=True), lambda m, x: m(x)[0]), torch.randn(7, 3, 20)
    model.code = _first  # which pickle finds by its name
    converted = quantized(model, x)
    y = converted(x)
    buffer = io.BytesIO()
    torch.save(converted, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), y)
    assert torch.equal(copy.deepcopy(converted)(x), y)
    fresh = quantized(Read(nn.LSTM(20, 32, 2, bidirectional=True), _first), torch.randn(7, 3, 20))
    fresh.load_state_dict(converted.state_dict())
    assert torch.equal(fresh(x), y)
    assert torch.equal(torch.export.export(converted, (x,)).module()(x), y)


def _first(m: Any, x: Tensor) -> Any:
    return m(x)[0]


def test_where_it_is_fastest_is_not_asked_of_a_recurrence() -> None:
    model, x = nn.Sequential(nn.LSTM(20, 32)).eval(), torch.randn(7, 3, 20)
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False)
    converted = convert_fx(prepared, placement="fastest")
    assert len(layers_of(converted)) == 1
    assert_same(converted(x), convert_fx(prepared)(x))


def test_training_with_fake_quantized_weights() -> None:
    model = Read(nn.LSTM(20, 32, 2, dropout=0.3), lambda m, x: m(x)[0]).train()
    x = torch.randn(7, 3, 20)
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (x,))
    optimizer = torch.optim.SGD(prepared.parameters(), 0.1)
    for _ in range(3):
        loss = prepared(x).pow(2).mean()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in prepared.parameters())
    converted = convert_fx(prepared.eval())
    assert len(layers_of(converted)) == 2
    assert_near(prepared, converted, x)


def test_on_every_isa_the_same(isa: str) -> None:
    torch.manual_seed(3)
    model, x = Read(nn.GRU(20, 33, 2, bidirectional=True), lambda m, x: m(x)[0]).eval(), torch.randn(7, 3, 20)
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [(x,)], progress=False)
    converted = convert_fx(prepared)
    sums = converted(x).double().sum().item()
    assert isinstance(layers_of(converted)[0], Int8Recurrent)
    assert sums == pytest.approx(_SUMS.setdefault("gru", sums), abs=0)


_SUMS: dict[str, float] = {}
