"""What stands for a value while forward is traced: it records what is done to it, and knows the example's value.

What a value is on any input (its dtype, its rank, whether it is a tensor) is answered at once. What depends on the
input's shape is recorded, and where Python must know (`if`, range()), answered from the example and checked at run
time.
What depends on the numbers in a tensor cannot be answered: Untraceable.
"""

from __future__ import annotations

import dis
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node, Proxy
from torch.fx.node import map_aggregate
from torch.fx.proxy import Attribute

from fxquant.graph.trace_error import ITERATION, LENGTH, NUMBER, Untraceable


class RecordedProxy(Proxy):
    """A value of the graph, of which nothing is known. Writes into it are recorded as what they are."""

    is_nested = False  # what torch.nn's transformers ask

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: Any, *args: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, *args), {})

    return record


# x += y is recorded as what it is: a write into x, which other names of x see too.
for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"):
    setattr(RecordedProxy, f"__{_name}__", _recorded(getattr(operator, _name)))


class ValueProxy(RecordedProxy):
    """A value of the graph. `example` is what it is for the example inputs; `from_data`, whether numbers decide it."""

    def __init__(self, node: Node, tracer: Any, example: Any, from_data: bool) -> None:
        super().__init__(node, tracer)
        self.tracer: Any = tracer
        self._example = example
        self._from_data = from_data

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._example, name)
        if name == "data" and isinstance(self._example, Tensor):
            return self.tracer.create_proxy("call_method", "detach", (self,), {})
        if isinstance(self._example, dict) and callable(value):
            return _DICT_METHODS[name](self) if name in _DICT_METHODS else Attribute(self, name)
        if callable(value) and not isinstance(value, Tensor):
            return Attribute(self, name)
        if isinstance(value, torch.Size) and self.node.op != "get_attr":
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        if _holds_tensor(value) or (self._from_data and isinstance(value, (bool, int, float))):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return value

    def __bool__(self) -> bool:
        if isinstance(self._example, (tuple, list, dict)):
            return len(self) > 0
        return bool(self.tracer.to_bool(self))

    def __len__(self) -> int:
        if isinstance(self._example, Tensor):
            if self.node.op == "get_attr":
                return len(self._example)
            raise Untraceable(LENGTH)
        return self._length()

    def __iter__(self) -> Iterator[Any]:
        frame = inspect.currentframe()
        if isinstance(self._example, dict):
            return iter(self._example)
        if isinstance(self._example, Tensor) and self.node.op != "get_attr" and not _unpacks(frame and frame.f_back):
            raise Untraceable(ITERATION)
        length = len(self._example) if isinstance(self._example, Tensor) else self._length()
        return iter([self[i] for i in range(length)])

    def _length(self) -> int:
        """The number of entries of what holds several values; of a list that the user passes in, it may vary."""
        if self.node.op == "placeholder" and isinstance(self._example, list):
            raise Untraceable(ITERATION)
        return len(self._example)

    def __index__(self) -> int:
        return int(self.tracer.fixed(self, int))

    def __int__(self) -> int:
        return int(self.tracer.fixed(self, int))

    def __float__(self) -> float:
        return float(self.tracer.fixed(self, float))

    def __complex__(self) -> complex:
        raise Untraceable(NUMBER)

    def __hash__(self) -> int:
        if isinstance(self._example, (int, float)):
            return hash(self.tracer.fixed(self, type(self._example)))
        return id(self)

    def __getitem__(self, index: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.getitem, (self, index), {})

    def __contains__(self, item: Any) -> bool:
        if isinstance(self._example, Tensor):
            raise Untraceable(NUMBER)
        return item in self._example if isinstance(self._example, dict) else any(item == each for each in self)

    def __deepcopy__(self, memo: dict[int, Any]) -> ValueProxy:
        return self

    def __array__(self, *args: Any) -> Any:
        raise Untraceable(NUMBER)


_ROUNDING: dict[str, Callable[..., Any]] = {
    "round": round,
    "ceil": math.ceil,
    "floor": math.floor,
    "trunc": math.trunc,
}
for _name, _function in _ROUNDING.items():
    setattr(ValueProxy, f"__{_name}__", _recorded(_function))

_DICT_METHODS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "keys": lambda x: x._example.keys,
    "values": lambda x: lambda: [x[key] for key in x._example],
    "items": lambda x: lambda: [(key, x[key]) for key in x._example],
    "get": lambda x: lambda key, default=None: x[key] if key in x._example else default,
    "to_tuple": lambda x: lambda: tuple(x[key] for key in x._example),
}


def _unpacks(frame: FrameType | None) -> bool:
    """Whether the code in `frame` is at a, b = x: Python itself then checks the number of entries."""
    if frame is None:
        return False
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("UNPACK_SEQUENCE", "UNPACK_EX")


def values_in(arguments: Any) -> list[Any]:
    """The traced values among arguments, also those in tuples, lists, dicts and slices."""
    found: list[Any] = []
    map_aggregate(arguments, lambda x: found.append(x) if issubclass(type(x), Proxy) else None)
    return found


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensor, value))
    if isinstance(value, dict):
        return any(map(_holds_tensor, value.values()))
    return isinstance(value, Tensor)
