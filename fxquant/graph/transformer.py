"""torch.nn's transformers, on the one way through their code that can be traced.

Their layers are modules that call modules, so each linear, norm and attention keeps its path. What else they do depends
on data: whether a fused kernel serves, and whether a mask is causal, which is a hint that saves time and changes no
result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import transformer

TRANSFORMERS = (
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)


def _no_length(src: Tensor, batch_first: bool) -> None:
    """Only `_as_told` would want it."""


def _as_told(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    return is_causal is True


def _as_it_is(mask: Tensor | None, *_: Any, **__: Any) -> Tensor | None:
    """nn.MultiheadAttention takes masks of booleans and of floats."""
    return mask


@contextmanager
def plain_transformers() -> Iterator[None]:
    """While it lasts, torch.nn's transformers look at no values."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            mock.patch.object(transformer, "_get_seq_len", _no_length),
            mock.patch.object(functional, "_canonical_mask", _as_it_is),
            mock.patch.object(transformer, "_detect_is_causal_mask", _as_told),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
