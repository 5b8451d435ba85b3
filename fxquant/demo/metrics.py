"""How close one set of logits is to another, and to the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.analysis.measures import sqnr_db as sqnr_db


def agreement(reference: Tensor, value: Tensor) -> float:
    """The fraction of rows of two [N, classes] tensors whose largest logit is the same class."""
    return (reference.argmax(1) == value.argmax(1)).double().mean().item()


def topk_accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """The fraction of rows of [N, classes] logits whose label, of int64 [N], is among the k largest."""
    hits: Tensor = (logits.topk(k, dim=1).indices == labels[:, None]).any(1)
    return hits.to(torch.float64).mean().item()
