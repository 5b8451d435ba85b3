"""The vocabulary: every op, under its name. `ops.relu(x)` computes on tensors, and records one node while tracing."""

# ruff: noqa: I001
# float
from fxquant.ops.activation import (
    clamp as clamp,
    elu as elu,
    gelu as gelu,
    hardsigmoid as hardsigmoid,
    hardswish as hardswish,
    leaky_relu as leaky_relu,
    mish as mish,
    prelu as prelu,
    relu as relu,
    sigmoid as sigmoid,
    silu as silu,
    softplus as softplus,
    tanh as tanh,
)
from fxquant.ops.attention import attention as attention
from fxquant.ops.conv import (
    conv1d as conv1d,
    conv2d as conv2d,
    conv3d as conv3d,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    conv_transpose3d as conv_transpose3d,
)
from fxquant.ops.elementwise import (
    add as add,
    div as div,
    maximum as maximum,
    minimum as minimum,
    mul as mul,
    sub as sub,
)
from fxquant.ops.functions import abs as abs, pow as pow, rsqrt as rsqrt
from fxquant.ops.gather import gather as gather, index_select as index_select, unfold as unfold
from fxquant.ops.embedding import embedding as embedding, embedding_bag as embedding_bag
from fxquant.ops.linear import linear as linear
from fxquant.ops.matmul import matmul as matmul
from fxquant.ops.norm import (
    batch_norm as batch_norm,
    group_norm as group_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
)
from fxquant.ops.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    adaptive_avg_pool3d as adaptive_avg_pool3d,
    adaptive_max_pool1d as adaptive_max_pool1d,
    adaptive_max_pool2d as adaptive_max_pool2d,
    adaptive_max_pool3d as adaptive_max_pool3d,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    avg_pool3d as avg_pool3d,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
    max_pool3d as max_pool3d,
    mean as mean,
)
from fxquant.ops.recurrent import (
    cell_state as cell_state,
    hidden_states as hidden_states,
    recurrent as recurrent,
)
from fxquant.ops.resize import interpolate as interpolate
from fxquant.ops.select import masked_fill as masked_fill, where as where
from fxquant.ops.shape import (
    cat as cat,
    chunk as chunk,
    expand as expand,
    flatten as flatten,
    flip as flip,
    getitem as getitem,
    pad as pad,
    permute as permute,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
    reshape as reshape,
    roll as roll,
    set_item as set_item,
    split as split,
    squeeze as squeeze,
    unbind as unbind,
    unflatten as unflatten,
    unsqueeze as unsqueeze,
)
from fxquant.ops.softmax import log_softmax as log_softmax, softmax as softmax
from fxquant.ops import comparison as comparison, identity as identity

# float <-> integer
from fxquant.ops.quantize import dequantize as dequantize, dequantize_to as dequantize_to, quantize as quantize

# integer
from fxquant.ops.integer.conv import (
    int8_conv2d as int8_conv2d,
    int8_conv3d as int8_conv3d,
    int8_conv_transpose2d as int8_conv_transpose2d,
    int8_conv_transpose3d as int8_conv_transpose3d,
)
from fxquant.ops.integer.elementwise import (
    int8_add as int8_add,
    int8_div as int8_div,
    int8_maximum as int8_maximum,
    int8_minimum as int8_minimum,
    int8_mul as int8_mul,
)
from fxquant.ops.integer.attention import dynamic_attention as dynamic_attention, int8_attention as int8_attention
from fxquant.ops.integer.dynamic_conv import (
    dynamic_conv2d as dynamic_conv2d,
    dynamic_conv3d as dynamic_conv3d,
    dynamic_conv_transpose2d as dynamic_conv_transpose2d,
    dynamic_conv_transpose3d as dynamic_conv_transpose3d,
)
from fxquant.ops.integer.embedding import (
    int8_embedding as int8_embedding,
    rows_embedding as rows_embedding,
    rows_embedding_bag as rows_embedding_bag,
)
from fxquant.ops.integer.floats import (
    float_add as float_add,
    float_attention as float_attention,
    float_embedding as float_embedding,
    float_gelu as float_gelu,
    float_gelu_tanh as float_gelu_tanh,
    float_layer_norm as float_layer_norm,
    float_mul as float_mul,
    float_rms_norm as float_rms_norm,
    float_silu as float_silu,
)
from fxquant.ops.integer.linear import (
    dynamic_linear as dynamic_linear,
    dynamic_linear_grouped as dynamic_linear_grouped,
    int8_linear as int8_linear,
    int8_linear_grouped as int8_linear_grouped,
    weight_only_linear as weight_only_linear,
)
from fxquant.ops.integer.lookup import lookup as lookup
from fxquant.ops.integer.masks import corner as corner, mask_and as mask_and, mask_nonzero as mask_nonzero
from fxquant.ops.integer.matmul import dynamic_matmul as dynamic_matmul, int8_matmul as int8_matmul
from fxquant.ops.integer.norm import (
    int8_group_norm as int8_group_norm,
    int8_layer_norm as int8_layer_norm,
    int8_rms_norm as int8_rms_norm,
)
from fxquant.ops.integer.pad import int8_pad as int8_pad
from fxquant.ops.integer.pool import (
    int8_adaptive_avg_pool2d as int8_adaptive_avg_pool2d,
    int8_adaptive_avg_pool3d as int8_adaptive_avg_pool3d,
    int8_adaptive_max_pool2d as int8_adaptive_max_pool2d,
    int8_adaptive_max_pool3d as int8_adaptive_max_pool3d,
    int8_avg_pool2d as int8_avg_pool2d,
    int8_avg_pool3d as int8_avg_pool3d,
    int8_max_pool2d as int8_max_pool2d,
    int8_max_pool3d as int8_max_pool3d,
)
from fxquant.ops.integer.projected import dynamic_projected_states as dynamic_projected_states
from fxquant.ops.integer.recurrent import (
    dynamic_two_byte_recurrent_states as dynamic_two_byte_recurrent_states,
)
from fxquant.ops.integer.recurrent import (
    dynamic_recurrent as dynamic_recurrent,
    dynamic_recurrent_states as dynamic_recurrent_states,
    int8_recurrent as int8_recurrent,
    int8_recurrent_states as int8_recurrent_states,
)
from fxquant.ops.integer.resize import (
    int8_interpolate_bilinear as int8_interpolate_bilinear,
    int8_interpolate_nearest as int8_interpolate_nearest,
)
from fxquant.ops.integer.softmax import int8_log_softmax as int8_log_softmax, int8_softmax as int8_softmax
