"""exp for softmax and attention, of differences to a maximum, in float32 operations that every machine rounds alike:

    2^t:  u = max(t, -60);  n = rne(u);  f = u - n;  2^n * (c0 + f * (c1 + f * (c2 + ...)))

With the coefficients EXPONENTIAL the relative error is below 1.1e-4, the least that three coefficients allow besides a
c0 of 1, so that 2^0 is exactly 1. EXPONENTIAL_255 are 255 times these, for probabilities in 8 bits: the error is 0.03
of a step. EXPONENTIAL_FINE are five besides a c0 of 1, for what stays in float32: the error is below 1.9e-7. Below -60
everything is 2^-60, which no 8-bit result can tell from 0; so is NaN, the difference of two infinities.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOG2_E = 1.4426950408889634
SMALLEST = -60.0
Coefficients = tuple[float, ...]
EXPONENTIAL: Coefficients = (1.0, 0.6932829022407532, 0.24221095442771912, 0.05500892922282219)
EXPONENTIAL_255: Coefficients = (255.0, 176.78713989257812, 61.7637939453125, 14.027276992797852)

EXPONENTIAL_FINE: Coefficients = (
    *(1.0, 0.6931470036506653, 0.24022242426872253),
    *(0.05550733581185341, 0.009671512991189957, 0.001326472731307149),
)


def power_of_2(t: Tensor, coefficients: Coefficients) -> Tensor:
    """2^t times the first coefficient, of float32 `t` <= 0 of any shape."""
    u = torch.where(t > SMALLEST, t, torch.full_like(t, SMALLEST))
    n = torch.round(u)
    f = u - n
    *rest, last = coefficients
    total = torch.full_like(f, last)
    for coefficient in reversed(rest):
        total = total * f + coefficient
    return torch.ldexp(total, n.int())
