"""What a graph in a file may call, by name. A name is looked up here and nowhere else; nothing is imported for it.

    fxquant.relu, torch.sin, operator.add …    functions: the op table, its spellings, checks, and those listed here
    sum, view …                                methods of tensors

All of them compute a new value from their arguments: none writes into a tensor, reads a file or calls what it is given.
Ops and spellings that a plug-in registers are known wherever the plug-in is imported.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import rnn

from fxquant.errors import FileError, UnsupportedError
from fxquant.graph.expect import CHECKS
from fxquant.graph.shapes import joint_shape, shape_of_rows
from fxquant.ops.op import OPS, SPELLINGS
from fxquant.saving.values import shortened

_ELEMENTWISE = """
abs absolute acos acosh asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil cos cosh deg2rad
digamma eq erf erfc erfinv exp exp2 expm1 fix floor floor_divide fmax fmin fmod frac ge greater gt hypot isfinite isinf
isnan le less lerp lgamma log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor logit lt
masked_fill maximum minimum nan_to_num ne nextafter not_equal positive pow rad2deg reciprocal remainder round rsqrt
sigmoid sign signbit sin sinc sinh sqrt square sub tan trunc where xlogy
"""
_REDUCTIONS = """
all amax amin aminmax any argmax argmin argsort count_nonzero cummax cummin cumprod cumsum diff kthvalue log_softmax
logsumexp max mean median min mode msort norm nanmean nansum prod quantile softmax sort std std_mean sum topk trace
unique_consecutive var var_mean
"""
_MOVES = """
broadcast_to diag diag_embed diagonal dsplit expand_as flip fliplr flipud gather hsplit index_select masked_select
moveaxis movedim narrow numel permute ravel repeat_interleave reshape roll rot90 select squeeze swapaxes swapdims t take
take_along_dim tensor_split tile transpose tril triu unbind unflatten unsqueeze vsplit
"""
_PRODUCTS = """
addbmm addcdiv addcmul addmm addmv baddbmm bmm cdist cross dot einsum inner kron matmul mm mv outer tensordot vdot
"""
_MAKERS = """
arange cartesian_prod complex empty empty_like eye full full_like hstack linspace meshgrid ones ones_like scalar_tensor
as_tensor stack tensor vstack zeros zeros_like broadcast_tensors is_floating_point is_tensor
"""
_SEQUENCES = "_pack_padded_sequence _pad_packed_sequence"
_METHODS = """
__and__ __eq__ __floordiv__ __ge__ __getitem__ __gt__ __invert__ __le__ __len__ __lt__ __matmul__ __mod__ __ne__ __or__
__pow__ __rpow__ __truediv__ bool contiguous dim double element_size expand half int is_contiguous item long new_empty
new_full new_ones new_tensor new_zeros nelement repeat scatter scatter_add index_add index_copy index_fill index_put
masked_scatter size stride to type_as unfold view_as
"""
_FUNCTIONAL = """
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d affine_grid avg_pool3d bilinear celu
channel_shuffle cosine_similarity embedding embedding_bag fold glu grid_sample group_norm gumbel_softmax hardshrink
instance_norm layer_norm local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d max_pool3d normalize one_hot
pairwise_distance pdist rms_norm rrelu scaled_dot_product_attention selu softmin softplus softshrink softsign
tanhshrink threshold unfold
"""
_OPERATOR = """
abs add and_ eq floordiv ge getitem gt index invert le lt matmul mod mul ne neg not_ or_ pos pow sub truediv xor
"""
_TENSOR_FUNCTIONS = _ELEMENTWISE + _REDUCTIONS + _MOVES + _PRODUCTS
_NAMES: dict[ModuleType, str] = {
    torch: _TENSOR_FUNCTIONS + _MAKERS + _SEQUENCES,
    rnn: "PackedSequence",
    torch.linalg: "norm vector_norm matrix_norm",
    torch.special: "expit log_softmax logit softmax",
    F: _FUNCTIONAL,
    operator: _OPERATOR,
    math: "ceil floor prod sqrt",
    builtins: "abs float getattr int len max min round sum",
}
_OWN: tuple[Any, ...] = (*CHECKS, joint_shape, shape_of_rows)
# What getattr may ask for.
ATTRIBUTES = frozenset(
    ("H", "T", "device", "dtype", "imag", "mH", "mT", "ndim", "real", "shape", *rnn.PackedSequence._fields)
)
METHODS = frozenset((_TENSOR_FUNCTIONS + _METHODS).split())


def name_of(function: Any) -> str:
    """The name of a function in files. Raises UnsupportedError for one that files may not call."""
    for name, known in _functions():
        if known is function:
            return name
    raise UnsupportedError(f"it calls {getattr(function, '__name__', function)!r}, which is not in the op table")


def function_called(name: Any) -> Any:
    """The function of that name. Raises FileError for an unknown one."""
    known = dict(_functions())
    if not isinstance(name, str) or name not in known:
        raise FileError(f"it calls {shortened(name)}, which is not in the op table of this fxquant")
    return known[name]


def knows_method(name: Any) -> bool:
    """Whether a graph in a file may call this method of a tensor."""
    return isinstance(name, str) and (name in METHODS or name in SPELLINGS) and hasattr(Tensor, name)


def _functions() -> Iterator[tuple[str, Any]]:
    for row in OPS.values():
        yield row.key, row.call
    for own in _OWN:
        yield f"fxquant.{own.__name__}", own
    for module, names in _NAMES.items():
        for name in names.split():
            if hasattr(module, name):
                yield f"{module.__name__}.{name}", getattr(module, name)
    for spelling in SPELLINGS:
        if callable(spelling) and not isinstance(spelling, type):
            yield _spelled(spelling), spelling


def _spelled(function: Any) -> str:
    """Where users find it: torch.add, torch.nn.functional.relu; builtins of torch do not know their module."""
    name = getattr(function, "__name__", "")
    places = (module for module in _NAMES if getattr(module, name, None) is function)
    module: Any = next(places, None)
    return f"{module.__name__ if module else function.__module__}.{name}"
