"""What to clip weights by: for each channel the part of its range whose mean squared error is least.

    error(t) = sum |w - dequantize(quantize(w; t * range))|^2,   t = 0.2, 0.21 ... 1

Of few bits a smaller step is worth more than the largest weights: Sung et al. 2015, "Resiliency of deep neural networks
under quantization" (arXiv:1511.06488); Banner et al. 2019, "Post training 4-bit quantization of convolutional networks
for rapid-deployment" (arXiv:1810.05723). Of eight bits hardly ever.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.observer.minmax import PerChannelMinMaxObserver

_PARTS = [percent / 100 for percent in range(100, 19, -1)]


class PerChannelMSEObserver(PerChannelMinMaxObserver):
    """Covers the best part of the range of each index along `ch_axis`, of the tensor that it saw last.

    Arguments: see PerChannelMinMaxObserver.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`. A tensor of integers is not looked at. Raises what PerChannelMinMaxObserver does."""
        super().forward(x)
        if x.is_floating_point():
            low, high = self.min_val.clone(), self.max_val.clone()
            part = self._best(x.detach().float().movedim(self.ch_axis or 0, 0).flatten(1), low, high)
            self._store(low * part, high * part)
        return x

    def merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high

    def _best(self, rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The part of the range of each row, [rows]."""
        best, least = torch.ones_like(low), torch.full_like(low, torch.inf)
        for part in _PARTS:
            self._store(low * part, high * part)
            scale, zero_point = (each[:, None] for each in self.calculate_qparams())
            codes = (rows / scale).round().add(zero_point).clamp(self.quant_min, self.quant_max)
            error = ((codes - zero_point) * scale - rows).square().sum(1)
            better = error < least
            best, least = torch.where(better, part, best), torch.where(better, error, least)
        return best
