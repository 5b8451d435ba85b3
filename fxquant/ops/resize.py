"""interpolate: nearest and bilinear resizing. Each output is among, or between, the inputs it is computed from."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from fxquant.ops.arguments import expand, rank, takes_rank
from fxquant.ops.op import Output, op, spelling

_MODES = ("nearest", "bilinear")


@op(output=Output.SAME, kernel=True, at_run_time=("size",), limits=takes_rank(4))
def interpolate(
    x: Tensor,
    size: tuple[int, ...] | None = None,
    scale_factor: tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """x [N, C, H, W] -> [N, C, *size], or [N, C, floor(H * scale), floor(W * scale)].

    With `scale_factor`, torch computes source positions from the factor as given, not from the ratio of the sizes.
    """
    return F.interpolate(x, size, scale_factor, mode, align_corners)


@spelling(F.interpolate)
def _interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    if mode not in _MODES or antialias:
        raise TypeError(f"mode={mode!r}{' with antialias' if antialias else ''} is not in the op table")
    if recompute_scale_factor:
        raise TypeError("recompute_scale_factor=True")
    dims = rank(input) - 2
    size = size if size is None or isinstance(size, Proxy) else expand(size, dims)
    scales = None if scale_factor is None else tuple(float(s) for s in expand(scale_factor, dims))
    return interpolate(input, size, scales, mode, bool(align_corners) if mode == "bilinear" else None)


@spelling(F.upsample)
def _upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    return _interpolate(input, size, scale_factor, mode, align_corners)


@spelling(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def _upsample_module(m: Any, input: Any) -> Any:
    return _interpolate(input, m.size, m.scale_factor, m.mode, m.align_corners, m.recompute_scale_factor)
