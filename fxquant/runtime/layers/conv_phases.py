"""Convolutions of volumes, and transposed ones, as 2-D convolutions that read windows of padded images.

How each dimension splits into phases is told in phases.py. A transposed convolution is one 2-D convolution for each
combination of phases, which writes to every so many rows and columns of the result. In three dimensions the slices
that the taps along the depth read are brought together first; the examples and slices of the result are then images of
one 2-D convolution. The slices lie side by side as channels; those of a depthwise convolution row by row in turn, which
leaves it depthwise:

    row i of slice t  ->  row i * slices + t        kernel [D, H, W] -> [H * D, W]        stride of rows * slices
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import ConvGeometry, _kernels
from fxquant.runtime import volumes
from fxquant.runtime.call import NOTHING
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.weighted import Weighted
from fxquant.runtime.phases import Phase, border, of_conv, of_transposed
from fxquant.runtime.value import Halo, Value
from fxquant.target import active_isa


@dataclass(frozen=True)
class Part:
    """A 2-D convolution without padding: what it computes along each dimension of the layer, and its kernel."""

    phases: tuple[Phase, ...]
    geometry: list[int]
    packed: Tensor
    depthwise: bool
    in_turn: int = 1  # the slices whose rows take turns

    def of(self, y: Any, narrow: Callable[..., Any]) -> Any:
        """What the part computes of `y`, which has the result's shape: by narrow(y, dim, start, length, step)."""
        for dim, phase in enumerate(self.phases, 2):
            outputs = -((phase.start - y.shape[dim]) // phase.step)
            y = narrow(y, dim, phase.start, outputs, phase.step)
        return y


class InPhases(Weighted):
    """What all of them share. Subclasses say which phases there are along each dimension."""

    kernel = "conv2d"

    def _phases(self) -> list[list[Phase]]:
        raise NotImplementedError

    def derive(self) -> None:
        self._derive_output()
        phases = self.derived_phases = self._phases()
        self.derived_zero_point = self.constant("x_zero_point")
        self.derived_borders = [border(along) for along in phases]
        self.derived_parts = [self._part(combination) for combination in product(*phases)]
        if len(phases) == 2:
            self.halo = Halo(*self.derived_borders)

    def _part(self, phases: tuple[Phase, ...]) -> Part:
        weight, bias, multiplier = self._tensors()
        for dim, phase in enumerate(phases, 2):
            taps = torch.tensor(phase.taps, dtype=torch.long)
            weight = weight.index_select(dim, taps) if phase.taps else torch.zeros_like(weight.narrow(dim, 0, 1))
        rows, columns = phases[-2:]
        in_turn = self._in_turn(phases)
        if in_turn > 1:
            weight = weight.transpose(2, 3).flatten(2, 3)
        elif len(phases) == 3:  # slices become channels
            weight = weight.transpose(1, 2).flatten(1, 2)
        geometry = ConvGeometry(
            *(weight.shape[0], weight.shape[2], weight.shape[3], rows.stride * in_turn, columns.stride, 0, 0, 0, 0),
            *(1 if in_turn > 1 else rows.dilation, columns.dilation, self.constant("groups")),
        )
        packed = self._packed(weight.contiguous(), bias, multiplier, geometry)
        return Part(phases, list(geometry), packed, self._runs_depthwise(weight, geometry), in_turn)

    def _packed(self, weight: Tensor, bias: Tensor, multiplier: Tensor, geometry: ConvGeometry) -> Tensor:
        pack = kernels.pack_depthwise_conv2d if self._runs_depthwise(weight, geometry) else kernels.pack_conv2d
        return pack(weight, bias, multiplier, geometry=geometry, **self._packing())

    def _in_turn(self, phases: tuple[Phase, ...]) -> int:
        """How many slices' rows take turns: those that a depthwise kernel reads, unless its rows are apart."""
        weight = self.constant("weight")
        depthwise = weight.shape[1] == 1 and self.constant("groups") == weight.shape[0]
        if len(phases) < 3 or not depthwise or (phases[1].dilation > 1 and len(phases[1].taps) > 1):
            return 1
        return max(len(phases[0].taps), 1)

    def _shape(self, x: Any) -> tuple[int, ...]:
        """Of the result."""
        sizes = []
        for size, along in zip(x.shape[2:], self.derived_phases, strict=True):
            sizes.append(sum(phase.outputs(size) for phase in along))
        if min(sizes) < 1:
            raise InputError(f"an input of shape {list(x.shape)} gives no output")
        return (x.shape[0], self.constant("weight").shape[0], *sizes)

    def check(self, *inputs: Any) -> None:
        """Of the shapes, which the layer takes apart before a kernel sees them."""
        channels = self.constant("weight").shape[1] * self.constant("groups")
        dims = len(self.derived_borders) + 2
        if isinstance(inputs[0], Tensor) and (inputs[0].dim() != dims or inputs[0].shape[1] != channels):
            raise InputError(f"it takes {dims} dimensions, of {channels} channels, not {list(inputs[0].shape)}")

    # Node by node.

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        self.check(x)
        y = self._empty(x)
        if residual is not None and residual.shape != y.shape:
            raise InputError(f"the residual must be of shape {list(y.shape)}, not {list(residual.shape)}")

        def convolved(part: Part, image: Tensor) -> Any:
            term = None if residual is None else _as_images(part.of(residual, _sliced))
            kernel = kernels.depthwise_conv2d if part.depthwise else kernels.conv2d
            return kernel(image, part.packed, term, part.geometry, *((True,) if self._floats else ()))

        return self._filled(y, x, convolved)

    def _empty(self, x: Tensor) -> Tensor:
        last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        memory_format, dtype = (torch.contiguous_format, torch.float32) if self._floats else (last, torch.uint8)
        return torch.empty(self._shape(x), dtype=dtype, device=x.device, memory_format=memory_format)

    def _filled(self, y: Tensor, x: Tensor, convolved: Callable[[Part, Tensor], Any]) -> Tensor:
        """`y`, with what `convolved` makes of the images that each part reads of `x`."""
        for part in self.derived_parts if not x.is_meta else ():
            to = part.of(y, _sliced)
            if to.numel() == 0:
                continue
            result = convolved(part, self._image(part, x))
            if x.dim() == 4 and len(self.derived_parts) == 1:
                return result  # type: ignore[no-any-return]
            to.copy_(result if x.dim() == 4 else result.unflatten(0, (x.shape[0], -1)).transpose(1, 2))
        return y

    def _image(self, part: Part, x: Tensor) -> Tensor:
        """What a part reads of `x`, as images; negative padding crops."""
        amounts: list[int] = []
        for phase, size in zip(part.phases, x.shape[2:], strict=True):
            start, length = phase.window(size)
            amounts = [-start, start + length - size, *amounts]
        if any(amounts):
            x = F.pad(x, amounts, value=self.derived_zero_point)
        if x.dim() == 4:
            return x
        depth = part.phases[0]
        slices = x.unfold(2, depth.reach, depth.stride)[..., :: depth.dilation]
        if part.in_turn > 1:  # [N, C, D, H, W, taps]
            in_turn: Tensor = slices.permute(0, 2, 1, 3, 5, 4)
            return in_turn.flatten(3, 4).flatten(0, 1)
        by_group: Tensor = slices.unflatten(1, (self.constant("groups"), -1))  # [N, g, C / g, D, H, W, taps]
        return by_group.permute(0, 3, 1, 6, 2, 4, 5).flatten(2, 4).flatten(0, 1)

    # In a program.

    def emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None = None) -> None:
        self.check(x.meta())
        self._emit(emitter, y, x, self._residual(y, residual))

    def _emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None) -> None:
        read: dict[Any, Value] = {}  # of volumes, by what the depth asks for
        for part in self.derived_parts:
            to = part.of(y, Value.narrow)
            if to.size == 0:
                continue
            *depth, rows, columns = part.phases
            key = (depth[0], part.in_turn) if depth else None
            if key not in read:
                read[key] = self._slices(emitter, x, *key) if key else self._bordered(emitter, x)
            image = read[key]
            for dim, phase, unit in ((-2, rows, part.in_turn), (-1, columns, 1)):
                at = len(image.shape) + dim
                start, length = phase.window(x.shape[at])
                image = image.narrow(at, start * unit, length * unit)
            term = None if residual is None else part.of(residual, Value.narrow)
            for operands in volumes.images(to, image, term) if depth else [(to, image, term)]:
                self._call(emitter, part, *operands)

    def _bordered(self, emitter: Emitter, x: Value) -> Value:
        """`x` as images, surrounded by as many zero points as any part reads."""
        x = emitter.images(x)
        if x.halo.covers(self.halo):
            return x
        return volumes.bordered(emitter, x, self.derived_borders, self.derived_zero_point)

    def _slices(self, emitter: Emitter, x: Value, depth: Phase, in_turn: int) -> Value:
        """The slices that each output along the depth reads, as channels or in turn, with borders of zero points."""
        borders = self.derived_borders[1:]
        if in_turn > 1:
            return volumes.in_turn(emitter, x, depth, borders, self.derived_zero_point)
        if len(depth.taps) == 1 and max(depth.before, depth.after, *borders) <= 0 and x.strides[1] == 1:
            start, _ = depth.window(x.shape[2])
            return x.narrow(2, start, depth.outputs(x.shape[2]), depth.stride)
        return volumes.gathered(emitter, x, depth, self.constant("groups"), borders, self.derived_zero_point)

    def _call(self, emitter: Emitter, part: Part, y: Value, x: Value, residual: Value | None) -> None:
        residual = None if residual is None else emitter.images(residual)
        packed = (emitter.constant(part.packed), part.packed.numel())
        shape: dict[str, Any] = {"rows": (0, y.shape[2]), "packed": packed}
        if part.depthwise:
            emitter.call("depthwise_conv2d", (y, x, residual), active_isa(), **shape)
            return
        reading = (part.geometry, False, active_isa())
        scratch_size = getattr(_kernels, f"{self.kernel}_scratch_size")
        needed = scratch_size(y.native, x.native, *packed, *reading, emitter.threads)
        operands = (y, x, residual, emitter.scratch(needed))
        constants = (part.geometry, False, self._floats, active_isa())
        emitter.call(self.kernel, operands, *constants, ahead=NOTHING, **shape)


def _sliced(x: Tensor, dim: int, start: int, length: int, step: int) -> Tensor:
    index = (*[slice(None)] * dim, slice(start, start + (length - 1) * step + 1 if length > 0 else start, step))
    return x[index]


def _as_images(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x.transpose(1, 2).flatten(0, 1)


def _each(*settings: Any) -> Iterator[tuple[Any, ...]]:
    return zip(*settings, strict=True)


class Ordinary(InPhases):
    """Convolutions that are not transposed."""

    def _phases(self) -> list[list[Phase]]:
        settings = map(self.constant, ("stride", "padding", "dilation"))
        return [of_conv(*one) for one in _each(self.constant("weight").shape[2:], *settings)]


@computes(ops.int8_conv3d)
class Int8Conv3d(Ordinary):
    """uint8 [N, I, D, H, W] -> uint8 [N, O, OD, OH, OW], channels last; or float32, contiguous."""


class Transposed(InPhases):
    """Transposed ones."""

    def _phases(self) -> list[list[Phase]]:
        settings = map(self.constant, ("stride", "padding", "output_padding", "dilation"))
        return [of_transposed(*one) for one in _each(self.constant("weight").shape[2:], *settings)]


@computes(ops.int8_conv_transpose2d)
class Int8ConvTranspose2d(Transposed):
    """uint8 [N, I, H, W] -> uint8 [N, O, OH, OW], channels last; or float32, contiguous."""


@computes(ops.int8_conv_transpose3d)
class Int8ConvTranspose3d(Transposed):
    """uint8 [N, I, D, H, W] -> uint8 [N, O, OD, OH, OW], channels last; or float32, contiguous."""
