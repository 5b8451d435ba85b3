"""One layer for each integer op: which kernel computes it, and what that kernel wants. A file a family, as in ops/."""

from fxquant.runtime.layers.conv import Int8Conv2d as Int8Conv2d
from fxquant.runtime.layers.conv_phases import Int8Conv3d as Int8Conv3d
from fxquant.runtime.layers.conv_phases import Int8ConvTranspose2d as Int8ConvTranspose2d
from fxquant.runtime.layers.conv_phases import Int8ConvTranspose3d as Int8ConvTranspose3d
from fxquant.runtime.layers.elementwise import Int8Add as Int8Add
from fxquant.runtime.layers.elementwise import Int8Div as Int8Div
from fxquant.runtime.layers.elementwise import Int8Maximum as Int8Maximum
from fxquant.runtime.layers.elementwise import Int8Minimum as Int8Minimum
from fxquant.runtime.layers.elementwise import Int8Mul as Int8Mul
from fxquant.runtime.layers.linear import Int8Linear as Int8Linear
from fxquant.runtime.layers.lookup import Lookup as Lookup
from fxquant.runtime.layers.pad import Int8Pad as Int8Pad
from fxquant.runtime.layers.pool import Int8AdaptiveAvgPool2d as Int8AdaptiveAvgPool2d
from fxquant.runtime.layers.pool import Int8AvgPool2d as Int8AvgPool2d
from fxquant.runtime.layers.pool import Int8MaxPool2d as Int8MaxPool2d
from fxquant.runtime.layers.pool_volumes import Int8AdaptiveAvgPool3d as Int8AdaptiveAvgPool3d
from fxquant.runtime.layers.pool_volumes import Int8AdaptiveMaxPool2d as Int8AdaptiveMaxPool2d
from fxquant.runtime.layers.pool_volumes import Int8AdaptiveMaxPool3d as Int8AdaptiveMaxPool3d
from fxquant.runtime.layers.pool_volumes import Int8AvgPool3d as Int8AvgPool3d
from fxquant.runtime.layers.pool_volumes import Int8MaxPool3d as Int8MaxPool3d
from fxquant.runtime.layers.quantize import Dequantize as Dequantize
from fxquant.runtime.layers.quantize import Quantize as Quantize
from fxquant.runtime.layers.resize import Int8InterpolateBilinear as Int8InterpolateBilinear
from fxquant.runtime.layers.resize import Int8InterpolateNearest as Int8InterpolateNearest
