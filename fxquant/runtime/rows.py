"""Calls that compute row by row, one after the other, as one step that takes some rows at a time.

    a; b; c   ->   rows of a, of b, of c;  more rows of a, of b, of c;  ...

What one call writes is then still in the L1 cache when the next one reads it. Every row is computed by the same kernels
from the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from fxquant.runtime.call import Call
from fxquant.runtime.value import Value

ROW_BY_ROW = (
    *("float_add", "float_embedding", "float_gelu", "float_gelu_tanh", "float_layer_norm", "float_mul"),
    *("float_rms_norm", "float_silu"),
    "dynamic_rows",
)


def joined_rows(calls: Sequence[Call]) -> list[Call]:
    """The same work, in fewer calls."""
    result: list[Call] = []
    chain: list[Call] = []
    for call in calls:
        if chain and not _continues(chain, call):
            result.append(_joined(chain))
            chain = []
        chain.append(call)
    return [*result, _joined(chain)] if chain else result


def _joined(chain: Sequence[Call]) -> Call:
    if len(chain) == 1:
        return chain[0]
    operands = tuple(dict.fromkeys(value for call in chain for value in call.operands))
    return Call(chain[0].node, "rows", operands, (), joined=tuple(chain))


def _continues(chain: Sequence[Call], call: Call) -> bool:
    """Whether `call` has as many rows, each of which reads nothing that `chain` writes but the same row."""
    if any(each.kernel not in ROW_BY_ROW for each in (chain[-1], call)) or _rows(call) != _rows(chain[-1]):
        return False
    return all(_apart(a, b) for each in chain for a, b in product(_values(each), _values(call)))


def _values(call: Call) -> list[Value]:
    return [value for value in call.operands if value is not None]


def _rows(call: Call) -> int:
    return math.prod(call.reads[0].shape[:-1])


def _apart(a: Value, b: Value) -> bool:
    """Whether the rows of two values lie in other memory, or each at the same place as the other's."""
    same = (a.offset, a.dtype, a.shape[-1:]) == (b.offset, b.dtype, b.shape[-1:])
    return a.buffer is not b.buffer or (same and a.size == b.size and _dense(a) and _dense(b))


def _dense(value: Value) -> bool:
    return bool(value.meta().is_contiguous())
