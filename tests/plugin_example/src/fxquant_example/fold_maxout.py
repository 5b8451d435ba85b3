"""quantize(maxout(dequantize(x, q)), q) -> int8_maxout(x): the largest integer is the largest real.

Maxout: Goodfellow et al. 2013 (arXiv:1302.4389). The kernel is C, compiled when the package is installed.
"""

import ctypes
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from fxquant import ops
from fxquant.plugin import Output, apply_rules, integer_op, kernel_for, op, register_pass, rule

_SIZES = [ctypes.c_int64] * 7
_C = ctypes.CDLL(find_spec("fxquant_example._maxout").origin).maxout_u8
_C.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *_SIZES]
_C.restype = None


@op(kernel=True, output=Output.SAME)
def maxout(x: Tensor, pieces: int) -> Tensor:
    """[N, C, ...] -> [N, C / pieces, ...]: the largest of so many neighbouring channels."""
    return x.unflatten(1, (-1, pieces)).amax(2)


class Maxout(nn.Module):
    def __init__(self, pieces):
        super().__init__()
        self.pieces = pieces

    def forward(self, x):
        return maxout(x, self.pieces)


@integer_op()
def int8_maxout(x: Tensor, pieces: int) -> Tensor:
    """The same, of uint8."""
    return x.unflatten(1, (-1, pieces)).amax(2)


@kernel_for(int8_maxout)
def maxout_in_c(x, pieces):
    places = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
    n, channels, pixels = places.shape
    y = torch.empty(n, pixels, channels // pieces, dtype=torch.uint8).transpose(1, 2)
    _C(places.data_ptr(), y.data_ptr(), n, channels // pieces, pixels, pieces, *places.stride())
    return y.reshape(n, channels // pieces, *x.shape[2:])


@register_pass(stage="fold")
def fold_maxout(gm):
    real = rule(
        lambda x, pieces, q: ops.quantize(maxout(ops.dequantize(x, q), pieces), q),
        lambda x, pieces: int8_maxout(x, pieces),
    )
    return apply_rules(gm, [real])
