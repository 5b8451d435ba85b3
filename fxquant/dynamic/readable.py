"""`weight` and `bias` of a quantized module: methods, as in torch.ao, that a model may read as tensors, too.

Models read them outside of the module that has them, as in `F.linear(x, self.qkv.weight, self.qkv.bias)`. F.linear by
the weight of a linear module is the product of that module, which computes with integers; everything else that torch
does with either, it does with the floats that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from fxquant.errors import InputError

Result = TypeVar("Result")
# What Python looks up in a class alone.
_OPERATORS = ("getitem", "len", "neg", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "matmul", "rmatmul")


class _Readable(Generic[Result]):
    def __init__(self, method: Callable[[Any], Result]) -> None:
        self.method, self.__doc__ = method, method.__doc__

    def __get__(self, module: nn.Module | None, owner: type) -> Callable[[], Result]:
        return self if module is None else Reading(module, self.method)  # type: ignore[return-value]


def readable(method: Callable[[Any], Result]) -> _Readable[Result]:
    """Declares a method that takes nothing, and whose result may be read without calling it."""
    return _Readable(method)


class Reading:
    """What stands for the result of `method(module)`: calling it gives the result, torch sees floats."""

    def __init__(self, module: nn.Module, method: Callable[[Any], Any]) -> None:
        self._module, self._method = module, method

    def __call__(self) -> Any:
        return self._method(self._module)

    def __repr__(self) -> str:
        return f"{self._method.__name__} of {self._module}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "data" or name.endswith("_"):
            raise _refusal(self, name)
        return getattr(self._floats(), name)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch calls it (the documentation's "Extending PyTorch"). Raises InputError for what would write."""
        kwargs = kwargs or {}
        written = args[0] if args and func.__name__.endswith("_") else kwargs.get("out")
        if isinstance(written, cls) and not func.__name__.startswith("__"):
            raise _refusal(written, func.__name__)
        if func is F.linear:
            return _linear(*args, **kwargs)
        args, kwargs = pytree.tree_map_only(cls, cls._floats, (args, kwargs))
        return func(*args, **kwargs)

    def _floats(self) -> Tensor:
        value = self()
        return value if isinstance(value, Tensor) else value.dequantize()


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """F.linear, of which at least one argument is read."""
    own: Any = getattr(weight, "_module", None)
    if not isinstance(weight, Reading) or not hasattr(own, "product"):
        return F.linear(*(_plain(each) for each in (input, weight, bias)))
    if isinstance(bias, Reading) and bias._module is own:
        return own.forward(_plain(input))
    return own.product(_plain(input), _plain(bias))


def _plain(value: Any) -> Any:
    return value._floats() if isinstance(value, Reading) else value


def _refusal(reading: Reading, name: str) -> InputError:
    return InputError(
        f"{name} may write to the {reading}, which holds integers; change the float model, and quantize it after that"
    )


def _operator(name: str) -> Callable[..., Any]:
    return lambda reading, *others: getattr(reading._floats(), name)(*map(_plain, others))


for _name in _OPERATORS:
    setattr(Reading, f"__{_name}__", _operator(f"__{_name}__"))
