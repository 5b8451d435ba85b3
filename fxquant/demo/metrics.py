"""How close one set of logits is to another, and to the labels.

SQNR = 10 log10(sum reference^2 / sum (reference - value)^2), in dB, over all elements.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sqnr_db(reference: Tensor, value: Tensor) -> float:
    """The signal to quantization noise ratio of two tensors of one shape; infinite if they are equal."""
    signal = reference.double().square().sum().item()
    noise = (reference.double() - value.double()).square().sum().item()
    return 10 * math.log10(signal / noise) if noise else math.inf


def agreement(reference: Tensor, value: Tensor) -> float:
    """The fraction of rows of two [N, classes] tensors whose largest logit is the same class."""
    return (reference.argmax(1) == value.argmax(1)).double().mean().item()


def topk_accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """The fraction of rows of [N, classes] logits whose label, of int64 [N], is among the k largest."""
    hits: Tensor = (logits.topk(k, dim=1).indices == labels[:, None]).any(1)
    return hits.to(torch.float64).mean().item()
