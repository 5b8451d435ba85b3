"""A model of the layers that transformers are made of."""

from __future__ import annotations

from typing import Any

import torch
from regions import quantized
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.runtime.quantized_module import QuantizedModule

TOKEN_LAYERS = {
    *("Int8Embedding", "Int8LayerNorm", "Int8RmsNorm", "Int8GroupNorm"),
    *("Int8Attention", "Int8Matmul", "Int8Softmax", "Int8LogSoftmax"),
}


class Tokens(nn.Module):
    """Each layer of transformers at least once."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 24)
        self.norm, self.rms, self.groups = nn.LayerNorm(24), nn.RMSNorm(24), nn.GroupNorm(3, 24)
        for norm in (self.norm, self.rms, self.groups):
            nn.init.normal_(norm.weight)
        nn.init.normal_(self.norm.bias)
        nn.init.normal_(self.groups.bias)
        self.qkv, self.mix = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, tokens: Tensor) -> Any:
        mask = tokens > 2
        x = self.norm(self.words(tokens))
        q, k, v = self.qkv(x).unflatten(2, (3, 4, 6)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, mask[:, None, None])
        y = y + F.scaled_dot_product_attention(k, q, v, is_causal=True)
        x = self.groups(self.mix(x + y.transpose(1, 2).flatten(2)).transpose(1, 2)).transpose(1, 2)
        x = self.rms(x.masked_fill(~mask[..., None], 0.5))
        chosen = torch.softmax(x, 1).transpose(1, 2) @ x
        return self.mix(chosen), torch.log_softmax(chosen, -1)


def tokens(scores: float = 1.0) -> tuple[QuantizedModule, Tensor]:
    """Tokens in int8, and what it was calibrated on; how far the scores of its attention are apart."""
    x, model = torch.randint(20, (3, 17)), Tokens()
    x[:, 3], x[1, 3:] = 5, 1
    with torch.no_grad():
        model.qkv.weight.mul_(scores)
    return quantized(model, x), x
