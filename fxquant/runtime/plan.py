"""A program that is ready to run, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
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

    A batch may be computed in `parts` of as many examples; from one part to the next each input and each output lies
    `distances` bytes further. So many `workers` share the parts, each of them `threads` threads.
    """

    program: Any
    threads: int
    calls: tuple[Call, ...]
    outputs: tuple[Output, ...]
    single: bool
    bound: int
    constants: tuple[Tensor, ...]  # whose memory the program reads
    parts: int = 1
    workers: int = 1
    distances: tuple[int, ...] = ()

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """What the graph computes of `inputs`: a tensor, or a tuple of them. Allocates nothing else."""
        if self.single and self.parts == 1:  # by far the most frequent case
            output = self.outputs[0]
            y = output.memory()
            self.program.run(self.threads, *[x.data_ptr() for x in inputs], y.data_ptr())
            return y if output.fills_its_memory else output.view(y)
        memory = [output.memory() for output in self.outputs]
        self.program.run_parts(*self._arguments(inputs, memory))
        return self._results(memory)

    def run_timed(self, inputs: Sequence[Tensor]) -> tuple[Any, dict[Node, float]]:
        """What `run` computes, and the seconds of every node that took any, of one worker."""
        memory = [output.memory() for output in self.outputs]
        seconds: dict[Node, float] = {}
        times = self.program.run_parts_timed(*self._arguments(inputs, memory))
        for call, time in zip(self.calls, times, strict=True):
            seconds[call.node] = seconds.get(call.node, 0.0) + time
        return self._results(memory), seconds

    def _arguments(self, inputs: Sequence[Tensor], memory: Sequence[Tensor]) -> tuple[Any, ...]:
        """Of the native program: how the batch is cut, and where inputs and outputs lie."""
        addresses = [x.data_ptr() for x in (*inputs, *memory)]
        distances = self.distances or [0] * len(addresses)
        return (self.workers, self.threads, self.parts), distances, addresses

    def _results(self, memory: Sequence[Tensor]) -> Any:
        results = tuple(output.view(y) for output, y in zip(self.outputs, memory, strict=True))
        return results[0] if self.single else results
