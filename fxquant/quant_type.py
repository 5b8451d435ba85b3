"""QuantType, under the path that it has in torch.ao.quantization."""

from fxquant.custom_config import QuantType

__all__ = ["QuantType"]
