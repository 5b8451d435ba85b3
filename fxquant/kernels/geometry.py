"""The shape of a 2-D convolution."""

from __future__ import annotations

from typing import NamedTuple


class ConvGeometry(NamedTuple):
    """Everything about a 2-D convolution but its input: output sizes follow from `output_size`."""

    out_channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """(h + padding - dilation * (kernel - 1) - 1) // stride + 1 for both sides; not positive if nothing fits."""
        reach_h = self.dilation_h * (self.kernel_h - 1) + 1
        reach_w = self.dilation_w * (self.kernel_w - 1) + 1
        return (
            (h + self.pad_top + self.pad_bottom - reach_h) // self.stride_h + 1,
            (w + self.pad_left + self.pad_right - reach_w) // self.stride_w + 1,
        )
