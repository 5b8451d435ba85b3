"""QuantType: the ways in which an op can be quantized."""

from __future__ import annotations

import enum

from fxquant.fake_quantize import FakeQuantizeBase
from fxquant.qconfig import QConfig

__all__ = ["QuantType"]


class QuantType(enum.IntEnum):
    """How an op is quantized."""

    DYNAMIC = 0
    STATIC = 1
    QAT = 2
    WEIGHT_ONLY = 3


def quant_type_of(qconfig: QConfig) -> QuantType:
    """How an op with this qconfig is quantized."""
    activation = qconfig.activation()
    if activation.is_dynamic:
        return QuantType.DYNAMIC
    if activation.dtype.is_floating_point:
        return QuantType.WEIGHT_ONLY
    return QuantType.QAT if isinstance(activation, FakeQuantizeBase) else QuantType.STATIC
