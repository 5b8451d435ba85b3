"""Random models over everything that runs in int8, for comparing two ways to run one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT = (2, 3, 9, 8)
MOST_ELEMENTS = 20_000

Shape = Sequence[int]


@dataclass(frozen=True)
class Step:
    """values.append(compute(model, *(values[i] for i in reads)))"""

    compute: Callable[..., Tensor]
    reads: tuple[int, ...]


class RandomModel(nn.Module):
    """A model of `length` random steps, each of which reads random earlier values, and of one to three results.

    It takes images [N, 3, 9, 8] of any N.
    """

    def __init__(self, seed: int, length: int = 12) -> None:
        super().__init__()
        self.random = Random(seed)
        self.steps: list[Step] = []
        self.parts = nn.ModuleList()
        self.values = [torch.zeros(INPUT)]
        self._add(self._conv(0))
        while len(self.steps) < length:
            self._add(self.random.choice(STEPS)(self, self._recent()))
        last = len(self.values) - 1
        self.results = [last, *self.random.sample(range(1, last), self.random.randint(0, 2))]
        self.values = []
        self.eval()

    def forward(self, x: Tensor) -> Any:
        values = [x]
        for step in self.steps:
            values.append(step.compute(self, *(values[i] for i in step.reads)))
        results = tuple(values[i] for i in self.results)
        return results if len(results) > 1 else results[0]

    # Building: a method takes the number of a value and returns a step that reads it, or None if it does not fit.

    def _add(self, step: Step | None) -> None:
        if step is None:
            return
        with torch.no_grad():
            value = step.compute(self, *(self.values[i] for i in step.reads))
        if 0 < value.numel() <= MOST_ELEMENTS:
            self.steps.append(step)
            self.values.append(value)

    def _recent(self) -> int:
        """Mostly the last value, so that models get deep."""
        last = len(self.values) - 1
        return last if self.random.random() < 0.6 else self.random.randint(min(1, last), last)

    def _part(self, module: nn.Module) -> int:
        """Compilers copy models, so steps reach modules by number."""
        self.parts.append(module)
        return len(self.parts) - 1

    def _shape(self, i: int) -> Shape:
        return self.values[i].shape

    def _is_images(self, i: int) -> bool:
        return self.values[i].dim() == 4

    def _alike(self, i: int, but: int = -1) -> list[int]:
        """The values of the shape of value `i`, not regarding dimension `but`."""

        def rest(shape: Shape) -> list[int]:
            return [size for d, size in enumerate(shape) if d != but]

        shape = self._shape(i)
        found = range(1, len(self.values))
        return [j for j in found if len(self._shape(j)) == len(shape) and rest(self._shape(j)) == rest(shape)]

    def _conv(self, i: int) -> Step | None:
        if not self._is_images(i):
            return None
        pick, (channels, height, width) = self.random.choice, self._shape(i)[1:]
        kernel = (pick((1, 1, 3, 3, 2)), pick((1, 1, 3, 3, 5)))
        dilation = (pick((1, 1, 2)), pick((1, 1, 2)))
        padding = (pick((0, kernel[0] // 2, 2)), pick((0, kernel[1] // 2)))
        reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        if reach[0] > height or reach[1] > width:
            return None
        groups = pick((1, 1, channels, math.gcd(channels, 4)))
        out = groups * pick((1, 2)) if groups > 1 else pick((1, 3, 8, 16, 40))
        stride = (pick((1, 1, 1, 2)), pick((1, 1, 1, 2)))
        conv = self._part(nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups))
        return Step(self._activated(conv), (i,))

    def _transposed(self, i: int) -> Step | None:
        if not self._is_images(i):
            return None
        pick, channels = self.random.choice, self._shape(i)[1]
        groups = pick((1, 1, channels, math.gcd(channels, 2)))
        kernel, stride = pick((2, 3, (1, 3))), pick((1, 2, (2, 1)))
        conv = self._part(nn.ConvTranspose2d(channels, groups * pick((1, 3)), kernel, stride, groups=groups))
        return Step(self._activated(conv), (i,))

    def _volumes(self, i: int) -> Step | None:
        """A convolution whose depth are halves of the channels, and the images that its slices are."""
        if not self._is_images(i) or self._shape(i)[1] % 2:
            return None
        pick, channels = self.random.choice, self._shape(i)[1] // 2
        kind: Any = pick((nn.Conv3d, nn.Conv3d, nn.ConvTranspose3d))
        groups, padding = pick((1, 1, channels)), pick((0, 1))
        conv = self._part(
            kind(channels, groups * pick((1, 4)), pick((1, 2, 3)), pick((1, 1, 2)), padding, groups=groups)
        )
        activation = self._activation()

        def compute(m: nn.Module, x: Tensor) -> Tensor:
            return activation(m.parts[conv](x.unflatten(1, (channels, 2)))).flatten(1, 2)

        try:
            compute(self, self.values[i])
        except RuntimeError:  # the kernel is larger than what it reads
            return None
        return Step(compute, (i,))

    def _residual(self, i: int) -> Step | None:
        if not self._is_images(i):
            return None
        channels, kernel = self._shape(i)[1], self.random.choice((1, 3))
        conv = self._part(nn.Conv2d(channels, channels, kernel, padding=kernel // 2))
        activation = self._activation()
        return Step(lambda m, x, y: activation(m.parts[conv](x) + y), (i, self.random.choice(self._alike(i) or [i])))

    def _linear(self, i: int) -> Step:
        out = self.random.choice((1, 5, 8, self._shape(i)[-1]))
        return Step(self._activated(self._part(nn.Linear(self._shape(i)[-1], out))), (i,))

    def _activated(self, part: int) -> Callable[..., Tensor]:
        activation = self._activation()
        return lambda m, x: activation(m.parts[part](x))

    def _activation(self) -> Callable[[Tensor], Tensor]:
        return self.random.choice((F.relu, F.relu6, F.silu, lambda x: x, lambda x: x))

    def _table(self, i: int) -> Step:
        function = self.random.choice((torch.sigmoid, F.hardswish, torch.tanh, None))
        if function is not None:
            return Step(lambda m, x: function(x), (i,))
        prelu = self._part(nn.PReLU(self._shape(i)[1]))
        return Step(lambda m, x: m.parts[prelu](x), (i,))

    def _binary(self, i: int) -> Step:
        function: Any = self.random.choice((torch.add, torch.mul))
        return Step(lambda m, x, y: function(x, y), (i, self.random.choice(self._alike(i) or [i])))

    def _broadcast(self, i: int) -> Step:
        function: Any = self.random.choice((torch.add, torch.mul))
        dim = self.random.randint(1, self.values[i].dim() - 1)
        swapped = self.random.random() < 0.5

        def compute(m: nn.Module, x: Tensor) -> Tensor:
            row = x.narrow(dim, 0, 1)
            return function(row, x) if swapped else function(x, row)  # type: ignore[no-any-return]

        return Step(compute, (i,))

    def _gate(self, i: int) -> Step | None:
        if not self._is_images(i):
            return None
        conv = self._part(nn.Conv2d(self._shape(i)[1], self._shape(i)[1], 1))
        return Step(lambda m, x: x * torch.sigmoid(m.parts[conv](x.mean((2, 3), keepdim=True))), (i,))

    def _pool(self, i: int) -> Step | None:
        if not self._is_images(i) or min(self._shape(i)[2:]) < 3:
            return None
        pools: tuple[Callable[..., Tensor], ...] = (
            lambda m, x: F.max_pool2d(x, 3, 2, 1),
            lambda m, x: F.max_pool2d(x, (3, 2), (1, 2), (1, 0), ceil_mode=True),
            lambda m, x: F.avg_pool2d(x, 3, 1, 1),
            lambda m, x: F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False),
            lambda m, x: F.adaptive_avg_pool2d(x, (2, 3)),
        )
        return Step(self.random.choice(pools), (i,))

    def _cat(self, i: int) -> Step:
        dim = self.random.randint(1, self.values[i].dim() - 1)
        others = self._alike(i, dim) or [i]
        reads = [i, *self.random.choices(others, k=self.random.randint(1, 3))]
        self.random.shuffle(reads)
        return Step(lambda m, *xs: torch.cat(xs, dim), tuple(reads))

    def _half(self, i: int) -> Step | None:
        dim = self.random.randint(1, self.values[i].dim() - 1)
        size, which = self._shape(i)[dim], self.random.randint(0, 1)
        if size < 3:
            return None
        if self.random.random() < 0.5:
            return Step(lambda m, x: x.chunk(2, dim)[which], (i,))
        return Step(lambda m, x: x.split([2, size - 2], dim)[which], (i,))

    def _swap_halves(self, i: int) -> Step | None:
        if self._shape(i)[1] % 2:
            return None

        def compute(m: nn.Module, x: Tensor) -> Tensor:
            a, b = x.chunk(2, 1)
            return torch.cat((b, torch.relu(a)), 1)

        return Step(compute, (i,))

    def _shuffle(self, i: int) -> Step | None:
        if not self._is_images(i) or self._shape(i)[1] % 2:
            return None
        channels, height, width = self._shape(i)[1:]

        def compute(m: nn.Module, x: Tensor) -> Tensor:
            parts = x.view(-1, 2, channels // 2, height, width)
            return parts.transpose(1, 2).reshape(-1, channels, height, width)

        return Step(compute, (i,))

    def _move(self, i: int) -> Step:
        last = self.values[i].dim() - 1
        moves: list[Callable[..., Tensor]] = [
            lambda m, x: x.transpose(1, last),
            lambda m, x: x.flatten(1),
            lambda m, x: x.unsqueeze(2).squeeze(2),
            lambda m, x: x[..., 1:],
            lambda m, x: x[:, ::2],
            lambda m, x: x.flip(tuple({1, last})),
            lambda m, x: x.roll((3, -1), (last, 1)),
            lambda m, x: x[:, :1].expand(-1, 3, *(-1,) * (last - 1)),
            lambda m, x: torch.stack(x.unbind(last), 1),
        ]
        return Step(self.random.choice(moves), (i,))

    def _to_images(self, i: int) -> Step | None:
        if self.values[i].dim() != 2 or self._shape(i)[1] % 6:
            return None
        return Step(lambda m, x: x.reshape(-1, x.shape[1] // 6, 2, 3), (i,))

    def _pad(self, i: int) -> Step | None:
        if not self._is_images(i) or min(self._shape(i)[2:]) < 3:
            return None
        amounts = [self.random.randint(-1, 2) for _ in range(4)]
        return Step(lambda m, x: F.pad(x, amounts, value=0.3), (i,))

    def _resize(self, i: int) -> Step | None:
        if not self._is_images(i):
            return None
        mode = self.random.choice(("nearest", "bilinear"))
        return Step(lambda m, x: F.interpolate(x, size=(5, 7), mode=mode), (i,))

    def _float(self, i: int) -> Step:
        return Step(lambda m, x: torch.sin(x), (i,))

    def _softmax(self, i: int) -> Step:
        function: Any = self.random.choice((torch.softmax, torch.log_softmax))
        dim = self.random.randint(1, self.values[i].dim() - 1)
        return Step(lambda m, x: function(x, dim), (i,))

    def _norm(self, i: int) -> Step | None:
        channels, *positions = self._shape(i)[1:]
        groups = self.random.choice([n for n in range(1, channels + 1) if channels % n == 0])
        norms: list[nn.Module] = [nn.LayerNorm(self._shape(i)[-1]), nn.RMSNorm(self._shape(i)[-1], 1e-3)]
        if channels // groups * math.prod(positions) > 1:
            norms.append(nn.GroupNorm(groups, channels))
        chosen = self.random.choice(norms)
        for parameter in chosen.parameters():
            nn.init.normal_(parameter)  # else the mean of what a norm gives is 0, but for rounding
        norm = self._part(chosen)
        return Step(lambda m, x: m.parts[norm](x), (i,))

    def _attention(self, i: int) -> Step | None:
        if self.values[i].dim() < 3:
            return None
        products: tuple[Callable[..., Tensor], ...] = (
            lambda m, x: F.scaled_dot_product_attention(x, x, x.flip(-2)),
            lambda m, x: F.scaled_dot_product_attention(x, x[..., 1:, :], x[..., :-1, :1], is_causal=True),
            lambda m, x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT),
            lambda m, x: x @ x.mT,
            lambda m, x: x.mT @ x,
        )
        return Step(self.random.choice(products), (i,))

    def _pixel_shuffle(self, i: int) -> Step | None:
        if not self._is_images(i) or self._shape(i)[1] % 4:
            return None
        return Step(lambda m, x: F.pixel_shuffle(x, 2), (i,))

    def _pixel_unshuffle(self, i: int) -> Step | None:
        if not self._is_images(i) or self._shape(i)[2] % 2 or self._shape(i)[3] % 2:
            return None
        return Step(lambda m, x: F.pixel_unshuffle(x, 2), (i,))

    def _border(self, i: int) -> Step | None:
        if not self._is_images(i) or min(self._shape(i)[2:]) < 3:
            return None
        mode = self.random.choice(("reflect", "replicate", "circular"))
        amounts = [self.random.randint(0, 2) for _ in range(4)]
        return Step(lambda m, x: F.pad(x, amounts, mode), (i,))


STEPS: tuple[Callable[[RandomModel, int], Step | None], ...] = (
    *(RandomModel._conv, RandomModel._conv, RandomModel._conv, RandomModel._residual, RandomModel._residual),
    *(RandomModel._linear, RandomModel._table, RandomModel._binary, RandomModel._broadcast, RandomModel._gate),
    *(RandomModel._pool, RandomModel._cat, RandomModel._cat, RandomModel._cat, RandomModel._half),
    *(RandomModel._swap_halves, RandomModel._shuffle, RandomModel._move, RandomModel._to_images, RandomModel._pad),
    *(RandomModel._resize, RandomModel._float, RandomModel._pixel_shuffle),
    *(RandomModel._pixel_unshuffle, RandomModel._border),
    *(RandomModel._softmax, RandomModel._norm, RandomModel._attention, RandomModel._transposed, RandomModel._volumes),
)
