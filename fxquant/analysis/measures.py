"""How near a value v is to its reference r, from sums alone: any number of batches takes no memory.

SQNR        10 log10(sum r^2 / sum (r - v)^2), in dB
cosine      sum r v / sqrt(sum r^2 sum v^2), where 2 sum r v = sum r^2 + sum v^2 - sum (r - v)^2
L2          sqrt(sum (r - v)^2 / sum r^2)
peak        max |r| / sqrt(mean r^2): how far the largest value stands out. A range of 256 steps that holds it
            leaves an SQNR of 10 log10(12 * 127.5^2 / peak^2) for values on both sides of 0
saturated   the share of r beyond what the integers of v can say
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Error:
    """What was summed up about the elements of a value so far."""

    count: int = 0
    signal: float = 0.0
    noise: float = 0.0
    power: float = 0.0
    largest: float = 0.0
    max_error: float = 0.0
    outside: int = 0

    def add(self, reference: Tensor, value: Tensor, outside: int = 0) -> None:
        """Adds two tensors of one shape, of which `outside` elements of the reference cannot be said in integers.

        Where both are the same infinity there is no error, and nothing is added.
        """
        r, v = _alike(reference.detach(), value.detach())
        if r.numel() == 0:
            return
        difference = r - v
        self.count += r.numel()
        self.signal += _sum_of_squares(r)
        self.noise += _sum_of_squares(difference)
        self.power += _sum_of_squares(v)
        self.largest = max(self.largest, _largest(r))
        self.max_error = max(self.max_error, _largest(difference))
        self.outside += outside

    @property
    def sqnr_db(self) -> float:
        """The signal to quantization noise ratio; infinite if there is no noise."""
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cosine(self) -> float:
        """The cosine of the angle between reference and value; 1 if both are 0, 0 if one is."""
        size = math.sqrt(self.signal) * math.sqrt(self.power)
        return (self.signal + self.power - self.noise) / (2 * size) if size else float(self.signal == self.power)

    @property
    def l2(self) -> float:
        """The size of the error as a share of the reference's."""
        if not self.noise:
            return 0.0
        return math.sqrt(self.noise / self.signal) if self.signal else math.inf

    @property
    def peak(self) -> float:
        """How many times its root mean square the reference's largest value is."""
        return self.largest / math.sqrt(self.signal / self.count) if self.signal else 0.0

    @property
    def saturated(self) -> float:
        """The share of the reference beyond the range of the integers."""
        return self.outside / self.count if self.count else 0.0


# Squares of larger numbers do not fit into float32: those of a mask.
_LARGEST_SQUARED = 1e18
# So few elements are summed up in their own precision.
_PIECE = 1 << 20


def _alike(r: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Both as real numbers of a type that holds their squares, without elements that are the same infinity."""
    r, v = (x if x.dtype is torch.float32 else x.double() for x in (r, v))
    if r.numel() and max(_largest(r), _largest(v)) < _LARGEST_SQUARED:
        return r, v
    different = r.isfinite() | (r != v)
    return r[different].double(), v[different].double()


def _largest(x: Tensor) -> float:
    low, high = torch.aminmax(x)
    return max(-low.item(), high.item())


def _sum_of_squares(x: Tensor) -> float:
    flat = x.flatten()
    return sum(torch.dot(piece, piece).item() for piece in flat.split(_PIECE))


def _error(reference: Tensor, value: Tensor) -> Error:
    error = Error()
    error.add(reference, value)
    return error


def sqnr_db(reference: Tensor, value: Tensor) -> float:
    """The signal to quantization noise ratio of two tensors of one shape, in dB; infinite if they are equal."""
    return _error(reference, value).sqnr_db


def cosine_similarity(reference: Tensor, value: Tensor) -> float:
    """The cosine of the angle between two tensors of one shape, as vectors."""
    return _error(reference, value).cosine


def normalized_l2_error(reference: Tensor, value: Tensor) -> float:
    """The size of the difference of two tensors of one shape, as a share of the reference's size."""
    return _error(reference, value).l2


def outside(reference: Tensor, scale: Tensor | float, zero_point: int, quant_min: int, quant_max: int) -> int:
    """How many elements lie more than half a step beyond quant_min..quant_max; `scale` broadcasts against them."""
    low, high = (quant_min - zero_point - 0.5) * scale, (quant_max - zero_point + 0.5) * scale
    if isinstance(scale, float) and reference.numel():
        least, largest = torch.aminmax(reference)
        if low <= least and largest <= high:
            return 0
    return int(torch.count_nonzero((reference < low) | (reference > high)))
