"""A program that is ready to run, and what it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fxquant.runtime.call import Call
from fxquant.runtime.value import Value


class Output:
    """A result of a program: memory of `size` elements, and the tensor of `value`'s layout that lies in it."""

    def __init__(self, value: Value) -> None:
        self.size = value.buffer.size // value.dtype.itemsize
        self.shape, self.strides, self.dtype = value.shape, value.strides, value.dtype
        self.offset = value.offset // value.dtype.itemsize
        self.fills_its_memory = self.offset == 0 and torch.Size(self.shape).numel() == self.size

    def memory(self) -> Tensor:
        """New memory for it: the tensor itself, where that is all there is."""
        if self.fills_its_memory:
            return torch.empty_strided(self.shape, self.strides, dtype=self.dtype)
        return torch.empty(self.size, dtype=self.dtype)

    def view(self, memory: Tensor) -> Tensor:
        """The tensor in `memory`."""
        return memory if self.fills_its_memory else memory.as_strided(self.shape, self.strides, self.offset)


@dataclass(frozen=True)
class Plan:
    """A native program for inputs of one layout. `bound`: the fewest bytes that an arena could have.

    The program computes a batch in `parts` of as many examples; from one part to the next each input and each output
    lies `distances` bytes further.
    """

    program: Any
    threads: int
    calls: tuple[Call, ...]
    outputs: tuple[Output, ...]
    single: bool
    bound: int
    constants: tuple[Tensor, ...]  # whose memory the program reads
    parts: int = 1
    distances: tuple[int, ...] = ()

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """What the graph computes of `inputs`: a tensor, or a tuple of them. Allocates nothing else."""
        if self.single and self.parts == 1:  # by far the most frequent case
            output = self.outputs[0]
            y = output.memory()
            self.program.run(self.threads, *[x.data_ptr() for x in inputs], y.data_ptr())
            return y if output.fills_its_memory else output.view(y)
        memory = [output.memory() for output in self.outputs]
        for addresses in self._addresses(inputs, memory):
            self.program.run(self.threads, *addresses)
        return self._results(memory)

    def run_timed(self, inputs: Sequence[Tensor]) -> tuple[Any, dict[Node, float]]:
        """What `run` computes, and the seconds of every node that took any."""
        memory = [output.memory() for output in self.outputs]
        seconds: dict[Node, float] = {}
        for addresses in self._addresses(inputs, memory):
            for call, time in zip(self.calls, self.program.run_timed(self.threads, *addresses), strict=True):
                seconds[call.node] = seconds.get(call.node, 0.0) + time
        return self._results(memory), seconds

    def _addresses(self, inputs: Sequence[Tensor], memory: Sequence[Tensor]) -> Iterator[list[int]]:
        """Of inputs and outputs, for each part."""
        first = [x.data_ptr() for x in (*inputs, *memory)]
        yield first
        for part in range(1, self.parts):
            yield [at + part * distance for at, distance in zip(first, self.distances, strict=True)]

    def _results(self, memory: Sequence[Tensor]) -> Any:
        results = tuple(output.view(y) for output, y in zip(self.outputs, memory, strict=True))
        return results[0] if self.single else results
