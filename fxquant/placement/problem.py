"""What a choice of precisions costs, in seconds.

    sum over units:   int8 or float, whichever the unit runs in
    sum over values:  + quantize    if computed in float and read by a unit in int8
                      + dequantize  if computed in int8 and read in float

A value is converted once, however many read the result.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """What a unit takes in either precision."""

    int8: float
    float: float


# Of a unit that cannot be measured: it stays as it was configured.
FIXED_INT8 = Kernel(0.0, math.inf)


@dataclass(frozen=True)
class Value:
    """A tensor on its way from one unit to others. Units are numbers; None is the part of the model that is float."""

    producer: int | None
    readers: frozenset[int | None]
    quantize: float
    dequantize: float

    def seconds(self, int8: Collection[int | None]) -> float:
        """What its conversion takes if the units `int8` run in int8, all others in float."""
        if self.producer in int8:
            return 0.0 if all(reader in int8 for reader in self.readers) else self.dequantize
        return self.quantize if any(reader in int8 for reader in self.readers) else 0.0


@dataclass(frozen=True)
class Problem:
    """The units of a model, numbered from 0, and the values between them."""

    kernels: tuple[Kernel, ...]
    values: tuple[Value, ...]

    def seconds(self, int8: Collection[int], of: Collection[int] | None = None) -> float:
        """The cost if the units `int8` run in int8, all others in float.

        With `of`, only what these units and the values next to them cost.
        """
        counted = range(len(self.kernels)) if of is None else of
        kernels = [kernel.int8 if i in int8 else kernel.float for i, kernel in enumerate(self.kernels) if i in counted]
        values = [v for v in self.values if of is None or v.producer in of or any(r in of for r in v.readers)]
        return sum(kernels) + sum(value.seconds(int8) for value in values)
