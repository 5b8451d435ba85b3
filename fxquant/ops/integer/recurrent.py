"""recurrent of integers. Products are exact, of the steps' inputs and of the state before; all else is in float32, each
operation rounded on its own:

    a[n] = float(sum over k of (x[t, k] - x_zero_point) * w_ih[n, k]) * multiplier_ih[n] + bias_ih[n]
    b[n] = float(sum over k of (h[t-1, k] - h_zero_point) * w_hh[n, k]) * multiplier_hh[n] + bias_hh[n]
    lstm   c[t] = sigmoid(a_f + b_f) * c[t-1] + sigmoid(a_i + b_i) * tanh(a_g + b_g)
           s[t] = sigmoid(a_o + b_o) * tanh(c[t])
    gru    n = tanh(a_n + sigmoid(a_r + b_r) * b_n);  s[t] = n + sigmoid(a_z + b_z) * (s[t-1] - n)
    rnn    s[t] = tanh(a + b), or max(a + b, 0)
    h[t] = requantize(s[t] * (1 / h_scale)), with h_zero_point

bias_hh is None (0.0) wherever a and b are only added: bias_ih has both then. A GRU has use for two.

Only what the products read, x and h, is rounded to 8 bits. The cell state c and, within a sequence, the state s of a
GRU stay in float32: both carry small increments over many steps, which 8 bits would round away, and c has no bound.
(Others keep c in 16 bits, as LiteRT does, or in 8, as torch.ao. Float costs nothing: it is one number a unit, which has
4 * (I + H) weights to be multiplied.)

    sigmoid(v) = 1 / (1 + 2^(max(v, -40) * -log2(e)))              within 2e-7
    tanh(v)    = 2 / (1 + 2^(max(v, -20) * -2 * log2(e))) - 1      within 3e-7

with the finer power of 2 of exponential.py, since gates that saturate leave nothing else to round.

A dynamic one takes and gives float32. Each row of x[t] and of h[t-1] is quantized when it is read, with a scale and a
zero point of its own (qparams.dynamic_quantize), whose scale multiplies float(sum) first; and h[t] = s[t].

The candidate gate (g of lstm, n of gru, that of rnn) may have weights of two bytes, w = 256 * high + low, both int8,

    b[n] = float(sum of high) * scale * (256 * multiplier_hh[n]) + bias_hh[n]
    b[n] += float(sum of low) * scale * multiplier_hh[n]

and so a. Then a reads x[t] in two bytes as well: what codes leave of it, at most half a step, has codes around 128 at a
scale of its own, the 255th part, and

    a[n] += float(sum of (rest - 128) * high) * rest_scale * (256 * multiplier_ih[n])

It alone becomes a part of the state; what the others lose, a sigmoid of at most a quarter of tanh's slope halves twice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fxquant.ops.integer.exponential import EXPONENTIAL_FINE, LOG2_E, power_of_2
from fxquant.ops.integer.linear import dynamic_product
from fxquant.ops.op import Output, op
from fxquant.ops.recurrent import CANDIDATE, GATES
from fxquant.qparams import SMALLEST_SCALE, Dynamic, Requantize, dynamic_quantize, round_and_saturate


def sigmoid(v: Tensor) -> Tensor:
    """Of float32 of any shape."""
    return 1.0 / (1.0 + power_of_2(_at_least(v, -40.0) * -LOG2_E, EXPONENTIAL_FINE))


def tanh(v: Tensor) -> Tensor:
    """Of float32 of any shape."""
    return 2.0 / (1.0 + power_of_2(_at_least(v, -20.0) * (-2.0 * LOG2_E), EXPONENTIAL_FINE)) - 1.0


def candidate_rows(kind: str, weight: Tensor) -> slice:
    """Those of the candidate gate in a weight [G * H, ...]."""
    hidden, gate = len(weight) // GATES[kind], CANDIDATE[kind]
    return slice(gate * hidden, (gate + 1) * hidden)


def gate_biases(kind: str, bias_ih: Tensor | None, bias_hh: Tensor | None, rows: int) -> tuple[Tensor, Tensor | None]:
    """The biases [rows] of a layer, or None, as an op takes them: float32, one for both where that will do."""
    zeros = torch.zeros(rows)
    ih, hh = (zeros if bias is None else bias.detach().float() for bias in (bias_ih, bias_hh))
    return (ih.clone(), hh.clone()) if kind == "gru" else (ih + hh, None)


def _at_least(v: Tensor, low: float) -> Tensor:
    return torch.where(v > low, v, torch.full_like(v, low))


def _product(x: Tensor, zero_point: int, weight: Tensor, multiplier: Tensor, bias: Tensor | None) -> Tensor:
    """[..., K] times [N, K]: a or b above, [..., N]."""
    acc = torch.nn.functional.linear(x.double() - zero_point, weight.double()).int()
    return acc.float() * multiplier + (0.0 if bias is None else bias)


def _step(kind: str, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """s[t] and the state that the next step goes on with, which is c[t] of an LSTM."""
    if kind == "lstm":
        i, f, g, o = (a + b).chunk(4, -1)
        state = sigmoid(f) * state + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(state), state
    if kind == "gru":
        (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, -1), b.chunk(3, -1)
        n = tanh(a_n + sigmoid(a_r + b_r) * b_n)
        state = n + sigmoid(a_z + b_z) * (state - n)
        return state, state
    state = tanh(a + b) if kind == "rnn_tanh" else _at_least(a + b, 0.0)
    return state, state


@op(activations=("x", "h0"), output=Output.NONE, several=True, at_run_time=("c0",))
def int8_recurrent_states(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor | None,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    kind: str,
    reverse: bool,
    x_zero_point: int,
    h_scale: float,
    output: Requantize,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x uint8 [T, B, I] -> h uint8 [T, B, H] and the last c float32 [B, H] (of an LSTM; else the last s).

    Weights int8 [G * H, I] and [G * H, H], biases and multipliers float32 [G * H]; h0 uint8 and c0 float32, [B, H].
    """
    batch = x.shape[1]
    h = torch.full((batch, weight_hh.shape[1]), output.zero_point, dtype=torch.uint8) if h0 is None else h0
    state = (h.int() - output.zero_point).float() * h_scale if kind == "gru" else torch.zeros(h.shape)
    if kind == "lstm" and c0 is not None:
        state = c0
    a = _product(x, x_zero_point, weight_ih, multiplier_ih, bias_ih)
    inverse = torch.tensor(1.0 / h_scale)

    def product(h: Tensor) -> Tensor:
        return _product(h, output.zero_point, weight_hh, multiplier_hh, bias_hh)

    def codes(s: Tensor) -> Tensor:
        return round_and_saturate(s * inverse, output.zero_point, output.quant_min, output.quant_max).to(torch.uint8)

    return _all_steps(kind, a, h, state, reverse, product, codes)


def _initial(kind: str, size: tuple[int, int], h0: Tensor | None, c0: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of a dynamic one: h, and the state that the first step goes on with."""
    h = torch.zeros(size) if h0 is None else h0
    return h, h if kind == "gru" else torch.zeros(size) if c0 is None else c0


def _all_steps(
    kind: str,
    a: Tensor,
    h: Tensor,
    state: Tensor,
    reverse: bool,
    product: Callable[[Tensor], Tensor],
    given: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """All h[t] = given(s[t]), and the last state, of b[t] = product(h[t-1])."""
    found: list[Tensor] = []
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        s, state = _step(kind, a[t], product(h), state)
        h = given(s)
        found.append(h)
    return torch.stack(found[::-1] if reverse else found), state


@op(activations=("x", "h0"), at_run_time=("c0",))
def int8_recurrent(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor | None,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    kind: str,
    reverse: bool,
    x_zero_point: int,
    h_scale: float,
    output: Requantize,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> Tensor:
    """The h of int8_recurrent_states alone, where nothing reads the last c."""
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, multiplier_ih, multiplier_hh)
    return int8_recurrent_states(x, *weights, kind, reverse, x_zero_point, h_scale, output, h0, c0)[0]


@op(activations=("x", "h0"), output=Output.NONE, several=True, at_run_time=("c0",))
def dynamic_recurrent_states(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor | None,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    kind: str,
    reverse: bool,
    dynamic: Dynamic,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x float32 [T, B, I] -> h float32 [T, B, H] and the last c [B, H] (of an LSTM; else the last s).

    Constants as of int8_recurrent_states; h0 and c0 float32 [B, H]. Scales are found by row, whatever `dynamic` says.
    """
    dynamic = dynamic._replace(by_row=True)
    h, state = _initial(kind, (x.shape[1], weight_hh.shape[1]), h0, c0)
    a = dynamic_product(x, weight_ih, multiplier_ih, bias_ih, dynamic)

    def product(h: Tensor) -> Tensor:
        return dynamic_product(h, weight_hh, multiplier_hh, 0.0 if bias_hh is None else bias_hh, dynamic)

    return _all_steps(kind, a, h, state, reverse, product, lambda s: s)


@op(activations=("x", "h0"), at_run_time=("c0",))
def dynamic_recurrent(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor | None,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    kind: str,
    reverse: bool,
    dynamic: Dynamic,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> Tensor:
    """The h of dynamic_recurrent_states alone, where nothing reads the last c."""
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, multiplier_ih, multiplier_hh)
    return dynamic_recurrent_states(x, *weights, kind, reverse, dynamic, h0, c0)[0]


@op(activations=("x", "h0"), output=Output.NONE, several=True, at_run_time=("c0",))
def dynamic_two_byte_recurrent_states(
    x: Tensor,
    columns: Tensor,
    weight_ih: Tensor,
    low_ih: Tensor,
    weight_hh: Tensor,
    low_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor | None,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    kind: str,
    reverse: bool,
    dynamic: Dynamic,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same with inputs, and weights of the candidate gate, of two bytes.

    columns [I], what each input is multiplied by; low_ih int8 [H, I] and low_hh int8 [H, H].
    """
    dynamic = dynamic._replace(by_row=True)
    rows = candidate_rows(kind, weight_hh)
    h, state = _initial(kind, (x.shape[1], weight_hh.shape[1]), h0, c0)
    scaled = x * columns
    a = _two_byte_product(scaled, weight_ih, low_ih, multiplier_ih, bias_ih, rows, dynamic)
    codes, scale = _rest(scaled, dynamic)
    high = (codes - 128.0) @ weight_ih[rows].double().t()
    a[..., rows] += high.float() * scale * (256.0 * multiplier_ih[rows])

    def product(h: Tensor) -> Tensor:
        return _two_byte_product(h, weight_hh, low_hh, multiplier_hh, bias_hh, rows, dynamic)

    return _all_steps(kind, a, h, state, reverse, product, lambda s: s)


def _two_byte_product(
    x: Tensor, weight: Tensor, low: Tensor, multiplier: Tensor, bias: Tensor | None, rows: slice, dynamic: Dynamic
) -> Tensor:
    """[..., K] times [N, K], whose `rows` have low bytes: b above, [..., N]."""
    worth = multiplier.clone()
    worth[rows] *= 256.0
    product = dynamic_product(x, weight, worth, 0.0 if bias is None else bias, dynamic)
    product[..., rows] += dynamic_product(x, low, multiplier[rows], 0.0, dynamic)
    return product


def _rest(x: Tensor, dynamic: Dynamic) -> tuple[Tensor, Tensor]:
    """What the codes of `x` leave of it: codes around 128, float64 of its shape, and their scale."""
    codes, scale, zero_point = dynamic_quantize(x, dynamic)
    step = (scale / 255.0).clamp(min=SMALLEST_SCALE)
    return round_and_saturate((x - (codes.float() - zero_point) * scale) * (1.0 / step), 128, 0, 255).double(), step
