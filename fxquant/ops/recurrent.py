"""recurrent   one layer of an LSTM, GRU or RNN, in one direction. With a = W_ih x[t] + b_ih, b = W_hh h[t-1] + b_hh:

lstm   i, f, g, o = a + b;  c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g);  h[t] = sigmoid(o) * tanh(c[t])
gru    r = sigmoid(a_r + b_r);  z = sigmoid(a_z + b_z);  n = tanh(a_n + r * b_n);  h[t] = n + z * (h[t-1] - n)
rnn    h[t] = tanh(a + b), or relu(a + b)

All states h are one tensor, so what watches that sees every hidden state of the recurrence. nn.LSTM, nn.GRU and nn.RNN
become a `recurrent` a layer and direction, the cells one of a single step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant.ops.arguments import rank, shape_of
from fxquant.ops.op import Output, op, spelling
from fxquant.ops.shape import cat, getitem, permute, squeeze, unsqueeze

# Gates of a unit by the name of the recurrence.
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
CANDIDATE = {"lstm": 2, "gru": 2, "rnn_tanh": 0, "rnn_relu": 0}  # the gate that becomes a part of the state
CELL_STATE = "cell states stay in float32: they are added up over time, and no scale bounds them"


PROJECTED = "proj_size is not in the op table: it multiplies each state by a third matrix"


@op(
    activations=("x", "h0"),
    weight="weight_ih",
    other_weights=("weight_hh",),
    output=Output.NONE,
    kernel=True,
    dynamic=True,
    several=True,
    at_run_time=("c0",),
    feeds_back="h0",
)
def recurrent(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    kind: str,
    reverse: bool = False,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """A layer of an LSTM, GRU or RNN in one direction: the states after each step and, of an LSTM, the last cell state.

    x [T, B, I], weights [G * H, I] and [G * H, H], biases [G * H], initial states [B, H] -> [T, B, H], [B, H].
    `kind`: a key of GATES. `reverse`: from the last step to the first one. Weights of another dtype, such as float16,
    become that of x first.
    """
    zeros = x.new_zeros(x.shape[1], weight_hh.shape[1])
    h = (zeros if h0 is None else h0).unsqueeze(0)
    weights = [w.to(x.dtype) for w in (weight_ih, weight_hh, bias_ih, bias_hh) if w is not None]
    settings = (bias_ih is not None, 1, 0.0, False, False, False)  # one layer, no dropout, one direction, time first
    x = x.flip(0) if reverse else x
    if kind == "lstm":
        c = (zeros if c0 is None else c0).unsqueeze(0)
        y, _, c = torch.lstm(x, (h, c), weights, *settings)
        return (y.flip(0) if reverse else y), c.squeeze(0)
    y, _ = getattr(torch, kind)(x, h, weights, *settings)
    return (y.flip(0) if reverse else y,)


@op(activations=("states",), kernel=True)
def hidden_states(states: tuple[Tensor, ...]) -> Tensor:
    """The states after each step, [T, B, H], that `recurrent` gives."""
    return states[0]


@op(activations=("states",))
def cell_state(states: tuple[Tensor, ...]) -> Tensor:
    """The last cell state, [B, H], that a `recurrent` LSTM gives."""
    return states[1]


@spelling(nn.LSTM)
def _lstm(m: Any, input: Any, hx: Any = None) -> Any:
    h0, c0 = _pair(hx)
    y, h, c = _layers("lstm", input, h0, c0, *_parameters(m))
    return y, (h, c)


@spelling(nn.GRU)
def _gru(m: Any, input: Any, hx: Any = None) -> Any:
    return _layers("gru", input, hx, None, *_parameters(m))[:2]


@spelling(nn.RNN)
def _rnn(m: Any, input: Any, hx: Any = None) -> Any:
    return _layers(f"rnn_{m.nonlinearity}", input, hx, None, *_parameters(m))[:2]


@spelling(torch.lstm)
def _torch_lstm(input: Any, hx: Any, params: Any, has_biases: Any, *settings: Any) -> Any:
    h0, c0 = _pair(hx)
    return _layers("lstm", input, h0, c0, *_given(params, has_biases, *settings))


@spelling(torch.gru)
def _torch_gru(input: Any, hx: Any, params: Any, has_biases: Any, *settings: Any) -> Any:
    return _layers("gru", input, hx, None, *_given(params, has_biases, *settings))[:2]


@spelling(torch.rnn_tanh)
def _torch_rnn_tanh(input: Any, hx: Any, params: Any, has_biases: Any, *settings: Any) -> Any:
    return _layers("rnn_tanh", input, hx, None, *_given(params, has_biases, *settings))[:2]


@spelling(torch.rnn_relu)
def _torch_rnn_relu(input: Any, hx: Any, params: Any, has_biases: Any, *settings: Any) -> Any:
    return _layers("rnn_relu", input, hx, None, *_given(params, has_biases, *settings))[:2]


@spelling(nn.LSTMCell)
def _lstm_cell(m: Any, input: Any, hx: Any = None) -> Any:
    return _cell(m, "lstm", input, *_pair(hx))


@spelling(nn.GRUCell)
def _gru_cell(m: Any, input: Any, hx: Any = None) -> Any:
    return _cell(m, "gru", input, hx)[0]


@spelling(nn.RNNCell)
def _rnn_cell(m: Any, input: Any, hx: Any = None) -> Any:
    return _cell(m, f"rnn_{m.nonlinearity}", input, hx)[0]


def _pair(hx: Any) -> tuple[Any, Any]:
    """Both initial states of an LSTM, or None twice."""
    if hx is None:
        return None, None
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError("its initial states are not a pair of tensors that are known one by one")
    return hx[0], hx[1]


# Of one layer and direction: weight_ih, weight_hh, bias_ih, bias_hh.
Parameters = tuple[Any, Any, Any, Any]


def _parameters(m: Any) -> tuple[list[Parameters], bool, bool]:
    """Those of every layer and direction of a module, whether it has two directions, and whether batches come first."""
    if getattr(m, "proj_size", 0) > 0:
        raise TypeError(PROJECTED)
    suffixes = [f"_l{i}{end}" for i in range(m.num_layers) for end in ("", "_reverse")[: 1 + m.bidirectional]]
    return [_of(m, suffix) for suffix in suffixes], m.bidirectional, m.batch_first


def _of(m: Any, suffix: str = "") -> Parameters:
    weights = [getattr(m, f"{name}{suffix}") for name in ("weight_ih", "weight_hh")]
    biases = [getattr(m, f"{name}{suffix}") if m.bias else None for name in ("bias_ih", "bias_hh")]
    return (*weights, *biases)


def _given(
    params: Any, has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool
) -> tuple[list[Parameters], bool, bool]:
    """The same of what torch's functions are given."""
    count = 4 if has_biases else 2
    if train and dropout > 0 and num_layers > 1:
        raise TypeError("it drops values between its layers")
    if len(params) != num_layers * (1 + bidirectional) * count:
        raise TypeError(PROJECTED)
    parts = [tuple(params[i : i + count]) + (None,) * (4 - count) for i in range(0, len(params), count)]
    return parts, bidirectional, batch_first


def _sequence(x: Any) -> int:
    """The rank of `x`, a sequence of steps. Raises TypeError unless it is a tensor."""
    if isinstance(shape_of(x), tuple) and not isinstance(shape_of(x), torch.Size):
        raise TypeError("its input is a PackedSequence, whose steps have batches of several sizes")
    return rank(x)


def _layers(
    kind: str, x: Any, h0: Any, c0: Any, parameters: list[Parameters], bidirectional: bool, batch_first: bool
) -> tuple[Any, Any, Any]:
    """Output, last hidden states and last cell states (None but for an LSTM) of all layers and directions."""
    batched = _sequence(x) == 3
    swap = batched and batch_first
    x = permute(x, (1, 0, 2)) if swap else x if batched else unsqueeze(x, 1)
    directions = 1 + bidirectional
    outputs: list[Any] = []
    hidden, cells = [], []
    for index, each in enumerate(parameters):
        reverse = index % directions == 1
        y, c = _direction(kind, x, each, reverse, _state(h0, index, batched), _state(c0, index, batched))
        outputs.append(y)
        hidden.append(getitem(y, (0 if reverse else -1,)))
        cells.append(c)
        if len(outputs) == directions:
            x, outputs = cat(tuple(outputs), 2) if bidirectional else y, []
    y = permute(x, (1, 0, 2)) if swap else x if batched else squeeze(x, (1,))
    return y, _stacked(hidden, batched), _stacked(cells, batched) if kind == "lstm" else None


def _direction(kind: str, x: Any, parameters: Parameters, reverse: bool, h0: Any, c0: Any) -> tuple[Any, Any]:
    """All hidden states of one layer and direction, and the last cell state of an LSTM."""
    found = recurrent(x, *parameters, kind, reverse, h0, c0)
    return hidden_states(found), _cell_state(found) if kind == "lstm" else None


def _cell_state(found: Any) -> Any:
    state: Any = cell_state(found)
    state.node.meta["reason"] = CELL_STATE
    return state


def _state(states: Any, index: int, batched: bool) -> Any:
    """The initial state [B, H] of a layer and direction, of the [layers * directions, B, H] (or [.., H]) of all."""
    if states is None:
        return None
    state = getitem(states, (index,))
    return state if batched else unsqueeze(state, 0)


def _stacked(states: list[Any], batched: bool) -> Any:
    """[layers * directions, B, H], or without B."""
    each = [unsqueeze(state, 0) if batched else state for state in states]
    return each[0] if len(each) == 1 else cat(tuple(each), 0)


def _cell(m: Any, kind: str, x: Any, h: Any, c: Any = None) -> tuple[Any, ...]:
    """The states [B, H], or [H], after one step."""
    batched = _sequence(x) == 2
    x, h, c = (t if batched or t is None else unsqueeze(t, 0) for t in (x, h, c))
    hidden, cell = _direction(kind, unsqueeze(x, 0), _of(m), False, h, c)
    states = (squeeze(hidden, (0,)), *([] if cell is None else [cell]))
    return tuple(state if batched else squeeze(state, (0,)) for state in states)
