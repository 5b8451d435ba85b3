"""Encoders to compare in static int8, with random weights:

fxquant bench tests/bench/encoders.py:vit_small --input 1x3x224x224
fxquant bench tests/bench/encoders.py:bert_small --input 1x128x384
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    """A layer of a transformer, which normalizes before its two halves, or after what they add."""

    def __init__(self, width: int, heads: int, before: bool) -> None:
        super().__init__()
        self.heads, self.before = heads, before
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.before:
            x = x + self.attend(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))
        x = self.norm1(x + self.attend(x))
        y: Tensor = self.norm2(x + self.down(F.gelu(self.up(x))))
        return y

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (
            each(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        y: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return y


class ViT(nn.Module):
    """[B, 3, 224, 224] -> [B, 197, width]: a class token and patches of 16 x 16."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 197, width))
        self.layers = nn.Sequential(*(Layer(width, heads, before=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.places
        y: Tensor = self.norm(self.layers(tokens))
        return y


def vit_small() -> nn.Module:
    """ViT-S/16."""
    return ViT(384, 6, 12)


def bert_small() -> nn.Module:
    """The layers of MiniLM-L6, which are BERT's."""
    return nn.Sequential(*(Layer(384, 12, before=False) for _ in range(6)))
