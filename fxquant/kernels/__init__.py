"""The int8 kernels: torch ops in the namespace `fxquant`, and the functions that pack weights for them.

Activations are plain uint8 tensors, logically NCHW, physically NHWC (torch.channels_last).
"""

from fxquant import _kernels
from fxquant.kernels import fork as fork
from fxquant.kernels.conv import conv2d, pack_conv2d
from fxquant.kernels.depthwise import depthwise_conv2d, pack_depthwise_conv2d
from fxquant.kernels.dynamic import dynamic_linear, pack_dynamic_linear, pack_integer_bias
from fxquant.kernels.dynamic.images import dynamic_conv2d, dynamic_quantize, pack_dynamic_conv2d
from fxquant.kernels.dynamic_attention import dynamic_attention
from fxquant.kernels.dynamic_matmul import dynamic_matmul
from fxquant.kernels.elementwise import add, div, maximum, minimum, mul
from fxquant.kernels.embedding import embedding_bag
from fxquant.kernels.floats import (
    float_add,
    float_attention,
    float_gelu,
    float_gelu_tanh,
    float_layer_norm,
    float_mul,
    float_rms_norm,
    float_silu,
)
from fxquant.kernels.gemm import linear, pack_linear
from fxquant.kernels.geometry import ConvGeometry
from fxquant.kernels.grouped import dynamic_grouped_linear, grouped_linear, pack_grouped
from fxquant.kernels.lookup import lookup
from fxquant.kernels.matmul import attention, matmul
from fxquant.kernels.norm import group_norm, layer_norm
from fxquant.kernels.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d, pool_windows
from fxquant.kernels.quantize import dequantize, quantize
from fxquant.kernels.recurrent import bytes_of, dynamic_recurrent, pack_recurrent, recurrent
from fxquant.kernels.recurrent import check_inputs as check_recurrent
from fxquant.kernels.resize import interpolate_bilinear, interpolate_nearest
from fxquant.kernels.softmax import log_softmax, softmax
from fxquant.kernels.weight_only import pack_weight_only, weight_only_linear

__all__ = [
    "ConvGeometry",
    "_kernels",
    "adaptive_avg_pool2d",
    "add",
    "attention",
    "avg_pool2d",
    "bytes_of",
    "check_recurrent",
    "conv2d",
    "depthwise_conv2d",
    "dequantize",
    "div",
    "dynamic_attention",
    "dynamic_conv2d",
    "dynamic_grouped_linear",
    "dynamic_linear",
    "dynamic_matmul",
    "dynamic_quantize",
    "dynamic_recurrent",
    "embedding_bag",
    "float_add",
    "float_attention",
    "float_gelu",
    "float_gelu_tanh",
    "float_layer_norm",
    "float_mul",
    "float_rms_norm",
    "float_silu",
    "group_norm",
    "grouped_linear",
    "interpolate_bilinear",
    "interpolate_nearest",
    "layer_norm",
    "linear",
    "log_softmax",
    "lookup",
    "matmul",
    "max_pool2d",
    "maximum",
    "minimum",
    "mul",
    "pack_conv2d",
    "pack_depthwise_conv2d",
    "pack_dynamic_conv2d",
    "pack_dynamic_linear",
    "pack_grouped",
    "pack_integer_bias",
    "pack_linear",
    "pack_recurrent",
    "pack_weight_only",
    "pool_windows",
    "quantize",
    "recurrent",
    "softmax",
    "weight_only_linear",
]
