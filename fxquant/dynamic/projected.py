"""An LSTM layer with projections, h[t] = W_hr (sigmoid(o) * tanh(c[t])): three dynamic products, step by step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxquant.dynamic.linear import Linear
from fxquant.qconfig import QConfig


class Projected(nn.Module):
    """x [T, B, I], h0 [B, P], c0 [B, H] -> all h [T, B, P] and the last c [B, H]."""

    def __init__(
        self,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        weight_hr: Tensor,
        reverse: bool,
        qconfig: QConfig,
    ) -> None:
        super().__init__()
        self.ih, self.hh = Linear.of(weight_ih, bias_ih, qconfig), Linear.of(weight_hh, bias_hh, qconfig)
        self.hr, self.reverse = Linear.of(weight_hr, None, qconfig), reverse

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All steps, from the last one on if `reverse`."""
        steps, batch, _ = x.shape
        h = x.new_zeros(batch, self.hr.out_features) if h0 is None else h0
        c = x.new_zeros(batch, self.hr.in_features) if c0 is None else c0
        a = self.ih(x)
        found: list[Tensor] = []
        for t in reversed(range(steps)) if self.reverse else range(steps):
            i, f, g, o = (a[t] + self.hh(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = self.hr(torch.sigmoid(o) * torch.tanh(c))
            found.append(h)
        return torch.stack(found[::-1] if self.reverse else found), c
