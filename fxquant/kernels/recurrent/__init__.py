"""A layer of an LSTM, GRU or RNN in one direction, over a whole sequence, on packed int8 weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.matmul import dense_rows
from fxquant.kernels.packed_memory import packed_memory
from fxquant.ops.recurrent import GATES
from fxquant.qparams import LONGEST_REDUCTION
from fxquant.target import active_isa

# The largest int16 weight whose bytes are those of int8 products: 256 * 127.
LARGEST_OF_TWO_BYTES = 32512

# In the order of the kernels' enumeration.
_KINDS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def pack_recurrent(
    kind: str,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    multiplier_ih: Tensor,
    multiplier_hh: Tensor,
    *,
    low: tuple[Tensor, Tensor] | None = None,
    x_zero_point: int = 0,
    h_zero_point: int = 0,
    dynamic: bool = False,
) -> Tensor:
    """Packs int8 [G * H, I] and [G * H, H], and float32 [G * H], for the active ISA: a 1-D uint8 tensor.

    `dynamic`: for `dynamic_recurrent`, which has no use for zero points. `low`, of such: int8 [H, I] and [H, H], low
    bytes of the candidate gate, whose high ones are in the weights.
    Raises InputError for another kind, dtype or shape, and for a reduction too long for int32.
    """
    if kind not in GATES:
        raise InputError(f"there is no recurrence {kind!r}; there are {', '.join(GATES)}")
    hidden = weight_hh.shape[-1]
    weights, lows = (weight_ih, weight_hh), low or ()
    for weight in weights:
        _check_weight(kind, weight, hidden)
    for weight, part in zip(weights, lows, strict=False):
        _check_low(part, [hidden, weight.shape[1]], dynamic)
    rows = weight_ih.shape[:1]
    vectors = (multiplier_ih, bias_ih, multiplier_hh, bias_hh)
    for each in vectors:
        if each.dtype is not torch.float32 or each.shape != rows or each.device.type != "cpu":
            found = f"{each.dtype} of {list(each.shape)}"
            raise InputError(f"biases and multipliers are float32 CPU tensors of {list(rows)}, not {found}")
    if not (0 <= x_zero_point <= 255 and 0 <= h_zero_point <= 255):
        raise InputError(f"zero points must lie in 0..255, not {x_zero_point} and {h_zero_point}")
    dimensions = (_KINDS.index(kind), weight_ih.shape[1], hidden, active_isa())
    packed = packed_memory(_kernels.recurrent_packed_size(*dimensions, low is not None))
    kept = [each.contiguous() for each in (weight_ih, *vectors[:2], weight_hh, *vectors[2:], *lows)]
    addresses = [each.data_ptr() for each in kept]
    low_ih, low_hh = addresses[6:] or (0, 0)
    input_weights = (*addresses[:3], x_zero_point, low_ih)
    recurrent_weights = (*addresses[3:6], h_zero_point, low_hh)
    _kernels.recurrent_pack(packed.data_ptr(), *dimensions, *input_weights, *recurrent_weights, dynamic)
    return packed


def _extent(weight: Tensor) -> str:
    return f"{weight.dtype} of up to {int(weight.int().abs().max())}"


def bytes_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The high and the low bytes of int16 `weight`, int8 both: 256 * high + low. InputError if a high one is none."""
    if weight.dtype is not torch.int16 or (weight.int().abs() > LARGEST_OF_TWO_BYTES).any():
        raise InputError(f"weights of two bytes are int16 of at most {LARGEST_OF_TWO_BYTES}, not {_extent(weight)}")
    high = (weight.int() + 128) >> 8
    return high.to(torch.int8), (weight - 256 * high).to(torch.int8)


def _check_weight(kind: str, weight: Tensor, hidden: int) -> None:
    matrix = weight.dim() == 2 and weight.numel() > 0
    if weight.dtype is not torch.int8 or not matrix or weight.device.type != "cpu":
        raise InputError(f"weights are int8 matrices on the CPU, not {weight.dtype} of {list(weight.shape)}")
    if weight.shape[1] > LONGEST_REDUCTION:
        raise InputError(f"a reduction over {weight.shape[1]} elements could overflow int32")
    rows = GATES[kind] * hidden
    if weight.shape[0] != rows:
        raise InputError(f"an {kind} of {hidden} units has weights of {rows} rows, not {weight.shape[0]}")


def _check_low(low: Tensor, shape: list[int], dynamic: bool) -> None:
    if not dynamic:
        raise InputError("static recurrences have weights of one byte: pack those of two with dynamic=True")
    if low.dtype is not torch.int8 or list(low.shape) != shape:
        raise InputError(f"low bytes of a candidate gate are int8 {shape}, not {low.dtype} {list(low.shape)}")


def _outputs(x: Tensor, hidden: int) -> tuple[Tensor, Tensor]:
    steps, batch, _ = x.shape
    return x.new_empty((steps, batch, hidden)), x.new_empty((batch, hidden), dtype=torch.float32)


def check_inputs(
    x: Tensor, h0: Tensor | None, c0: Tensor | None, inputs: int, hidden: int, dtype: torch.dtype = torch.uint8
) -> None:
    """Raises InputError unless `x` [T, B, inputs], T > 0, and `h0` [B, hidden] are of `dtype`, and `c0` float32."""
    if x.dtype is not dtype or x.dim() != 3 or x.shape[2] != inputs:
        name = str(dtype).removeprefix("torch.")
        raise InputError(f"it takes {name} [steps, batch, {inputs}], not {x.dtype} of {list(x.shape)}")
    if x.shape[0] == 0:
        raise InputError("a sequence has one step at least")
    for state, wanted in ((h0, dtype), (c0, torch.float32)):
        if state is not None and (state.dtype is not wanted or state.shape != (x.shape[1], hidden)):
            raise InputError(
                f"the initial state of a batch of {x.shape[1]} is {wanted} of {[x.shape[1], hidden]}, "
                f"not {state.dtype} of {list(state.shape)}"
            )


@torch_op(
    "recurrent(Tensor x, Tensor packed, Tensor? h0, Tensor? c0, int hidden, bool reverse, float h_scale, "
    "int zero_point, int quant_min, int quant_max) -> (Tensor, Tensor)",
    lambda x, packed, h0, c0, hidden, *_: _outputs(x, hidden),
)
def recurrent(
    x: Tensor,
    packed: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    hidden: int,
    reverse: bool,
    h_scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> tuple[Tensor, Tensor]:
    """Of uint8 `x` [T, B, I] what ops.int8_recurrent_states gives: uint8 [T, B, hidden] and float32 [B, hidden].

    Raises InputError for another dtype or shape, and for weights packed for another ISA or size.
    """
    return _run(x, packed, h0, c0, hidden, reverse, (h_scale, zero_point, quant_min, quant_max, False))


def dynamic_recurrent_now(
    x: Tensor, packed: Tensor, h0: Tensor | None, c0: Tensor | None, hidden: int, reverse: bool, *levels: int
) -> tuple[Tensor, Tensor]:
    """`dynamic_recurrent`, which is a torch op, and takes longer to call. Raises InputError as it does."""
    return _run(x, packed, h0, c0, hidden, reverse, (1.0, 0, *levels, True))


@torch_op(
    "dynamic_recurrent(Tensor x, Tensor packed, Tensor? h0, Tensor? c0, int hidden, bool reverse, int quant_min, "
    "int quant_max) -> (Tensor, Tensor)",
    lambda x, packed, h0, c0, hidden, *_: _outputs(x, hidden),
)
def dynamic_recurrent(
    x: Tensor,
    packed: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    hidden: int,
    reverse: bool,
    quant_min: int,
    quant_max: int,
) -> tuple[Tensor, Tensor]:
    """Of float32 `x` [T, B, I] what ops.dynamic_recurrent_states gives: float32 [T, B, hidden] and [B, hidden].

    Raises InputError as `recurrent` does.
    """
    return dynamic_recurrent_now(x, packed, h0, c0, hidden, reverse, quant_min, quant_max)


def _run(
    x: Tensor, packed: Tensor, h0: Tensor | None, c0: Tensor | None, hidden: int, reverse: bool, output: tuple[Any, ...]
) -> tuple[Tensor, Tensor]:
    """`output`: scale, zero point and bounds of h, and whether it is dynamic."""
    check_inputs(x, h0, c0, x.shape[-1], hidden, torch.float32 if output[-1] else torch.uint8)
    y, last = _outputs(x, hidden)
    if x.shape[1] == 0:
        return y, last
    x, (h0, c0) = dense_rows(x), [t if t is None else dense_rows(t) for t in (h0, c0)]
    weights = (packed.data_ptr(), packed.numel())
    threads, isa = torch.get_num_threads(), active_isa()
    try:
        blocks, size = _kernels.recurrent_blocks(*weights, *y.shape[:2], threads, isa)
        memory = torch.empty(size, dtype=torch.uint8)
        views = [view(t) for t in (y, x, h0, c0, last, memory)]
        settings = (blocks, reverse, *output, isa)
        _kernels.recurrent(threads, *views, *weights, *settings)
    except ValueError as error:
        raise InputError(f"a recurrence over {list(x.shape)}: {error}") from None
    return y, last
