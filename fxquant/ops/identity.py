"""Spellings that compute nothing in eval mode, and vanish."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import Proxy
from torch.nn import functional as F

from fxquant.ops.op import spelling


@spelling(nn.Identity)
def _identity(m: Any, input: Any, *unused: Any) -> Any:
    return input


@spelling(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
def _dropout_module(m: Any, input: Any) -> Any:
    return input


@spelling(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)
def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if training:
        raise TypeError("it drops values even in eval(), since it is called with training=True, its default")
    return input


@spelling("contiguous", "clone", torch.clone)
def _same_values(input: Any, *, memory_format: Any = None) -> Any:
    return input


@spelling("detach", torch.detach, "cpu")
def _same_tensor(input: Any) -> Any:
    return input


@spelling("to")
def _to(input: Any, *args: Any, **kwargs: Any) -> Any:
    for target in (*args, *kwargs.values()):
        if isinstance(target, torch.dtype):
            _as_type(input, target)
        elif isinstance(target, (str, torch.device)) and torch.device(target).type != "cpu":
            raise TypeError(f"it moves its input to {target}")
        elif isinstance(target, Proxy):
            raise TypeError("its target is computed while the model runs")
    return input


@spelling("float")
def _float(input: Any) -> Any:
    return _as_type(input, torch.float32)


def _as_type(x: Any, dtype: torch.dtype) -> Any:
    if x.node.meta.get("dtype") is not dtype:
        raise TypeError(f"it converts to {dtype}")
    return x
