"""Every convolution as convolutions that read windows of their padded input, for one dimension.

    conv        y[j]             = sum over taps t of  w[t] * x[j * stride - padding + t * dilation]
    transposed  y[r + stride * j] = sum over those taps of w[k] that reach output r of x[j - before + t * step]

A transposed convolution adds w[k] * x[i] to output i * stride - padding + k * dilation. Output p = r + stride * j thus
reads input (p + padding - k * dilation) / stride wherever that is whole, which depends on r alone: for each of the
`stride` phases r it is an ordinary convolution of stride 1 with some of the taps, backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """The outputs start, start + step … along one dimension.

    Output j of them reads the positions j * stride - before + t * dilation of the input, of which there are `before`
    ahead of it and `after` behind it (negative: some are not read); there with kernel position taps[t], or with
    nothing at all if there are no taps.
    """

    taps: tuple[int, ...]
    stride: int
    dilation: int
    before: int
    after: int
    start: int = 0
    step: int = 1

    @property
    def reach(self) -> int:
        """How many positions lie between the first and the last one that an output reads, with both."""
        return self.dilation * (max(len(self.taps), 1) - 1) + 1

    def within(self, border: int) -> Phase:
        """The same of an input that begins and ends with `border` positions more."""
        return replace(self, before=self.before - border, after=self.after - border)

    def outputs(self, size: int) -> int:
        """How many outputs an input of `size` gives; 0 if the window does not fit."""
        return max(0, (size + self.before + self.after - self.reach) // self.stride + 1)

    def window(self, size: int) -> tuple[int, int]:
        """Where what all outputs read begins, in positions of the input, and how long it is."""
        return -self.before, (self.outputs(size) - 1) * self.stride + self.reach


def of_conv(kernel: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    """The one phase of a convolution."""
    return [Phase(tuple(range(kernel)), stride, dilation, padding, padding)]


def of_transposed(kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> list[Phase]:
    """The phases of a transposed convolution."""
    outputs_of_one = dilation * (kernel - 1) - 2 * padding + output_padding + 1
    return [_transposed(kernel, stride, padding, dilation, r, outputs_of_one) for r in range(stride)]


def _transposed(kernel: int, stride: int, padding: int, dilation: int, r: int, outputs_of_one: int) -> Phase:
    taps = [k for k in reversed(range(kernel)) if (r + padding - k * dilation) % stride == 0]
    positions = [(r + padding - k * dilation) // stride for k in taps] or [0]
    more = -((r - outputs_of_one) // stride) - 1  # outputs beyond one for each input
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    return Phase(tuple(taps), 1, step, -positions[0], more + positions[-1], r, stride)


def border(phases: Sequence[Phase]) -> int:
    """How far phases read beyond either end of the input."""
    return max(0, *(side for phase in phases for side in (phase.before, phase.after)))
