"""Finished models as QDQ ONNX: integers between QuantizeLinear and DequantizeLinear, for any ONNX runtime.

    uint8 x ─ DequantizeLinear ─┐
    int8 weight ─ Dequantize… ─ Conv ─ Relu / Clip ─ QuantizeLinear ─ uint8 y
    int32 bias ─ Dequantize… ───┘

layers.py says this of every int8 layer, transformers.py, norms.py and recurrent.py of those of such networks;
dynamic.py of layers that find scales at run time or have integer weights alone; floats.py of what stays float, moves.py
of what moves data.
"""

from fxquant.onnx_export.export import export_onnx

__all__ = ["export_onnx"]
