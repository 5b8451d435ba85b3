"""The form of an int8 layer: an integer op with its constants, computed by a kernel.

Lowering turns every integer op into such a module. All its numbers are buffers, so a state_dict holds the whole layer;
what the kernel wants of them (packed weights, plain Python numbers) is derived again whenever they change or move to
another machine, and never saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from fxquant.errors import InputError
from fxquant.runtime.programs import forget_programs
from fxquant.runtime.value import Halo, Value

if TYPE_CHECKING:
    from fxquant.runtime.planner import Planner

LAYERS: dict[Callable[..., Any], type[Layer]] = {}
LayerType = TypeVar("LayerType", bound="type[Layer]")


class Layer(nn.Module):
    """Base of all int8 layers. Subclasses say in `derive` what their kernel wants, and call it in `run`."""

    # Arguments of the integer op that arrive at run time, in the order of `run`. All others are constants.
    inputs: tuple[str, ...] = ("x",)
    # Whether the layer reads and gives uint8; one that does only one of the two stands at the boundary to float.
    takes_integers = True
    gives_integers = True
    # Inputs that are no quantized activations: masks, indices.
    reals: tuple[str, ...] = ()
    # Whether it can be a part of a native program.
    plannable = True
    # Positions of the inputs that the kernel may write its result over.
    overwrites: tuple[int, ...] = ()
    # Whether the kernel writes results of any strides; if not, a dense one is all that it can write.
    any_strides = True
    # What the kernel wants around its first input, so as to read it in place.
    halo = Halo()
    # The place in the user's model, for messages.
    where = ""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {}
        for name, value in constants.items():
            self._keep(name, value)
        self.derive()

    def _keep(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.register_buffer(name, value)
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            self._settings[name] = type(value)
            for field, number in zip(value._fields, value, strict=True):
                self._keep(f"{name}_{field}", number)
        elif isinstance(value, float):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        elif name.endswith(("zero_point", "quant_min", "quant_max", "code")):
            self.register_buffer(name, torch.tensor(value, dtype=torch.int32))
        else:
            self._settings[name] = value

    def constant(self, name: str) -> Any:
        """A constant of the integer op, as plain Python numbers where it is not a tensor of several."""
        setting = self._settings.get(name)
        if isinstance(setting, type):
            return setting(*(self.constant(f"{name}_{field}") for field in setting._fields))  # type: ignore[attr-defined]
        buffer = self._buffers.get(name)
        if buffer is None:
            return setting
        return buffer.item() if buffer.dim() == 0 else buffer

    def derive(self) -> None:
        """Computes from the buffers what `run` needs, as attributes whose names begin with derived_."""
        raise NotImplementedError

    def run(self, *inputs: Any) -> Any:
        """Calls the kernel."""
        raise NotImplementedError

    def macs(self, shape: Sequence[int]) -> int:
        """How many multiply-adds a result of `shape` takes."""
        return 0

    def emit(self, planner: Planner, y: Value, *inputs: Any) -> None:
        """Appends to a program the kernel calls that write to `y` what `run` computes of `inputs`."""
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        """Runs the kernel. Raises InputError, naming the place, for a tensor that the layer cannot take."""
        try:
            return self.run(*inputs)
        except InputError as error:
            raise InputError(f"{self.where or type(self).__name__}: {error}") from None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.derive()
        forget_programs()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what is derived: it belongs to this machine."""
        state = self.__dict__.copy()
        return {name: value for name, value in state.items() if not name.startswith("derived_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.derive()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Layer:
        """An int8 layer has one precision and runs on the CPU: .half(), .double() and .to() leave it alone."""
        return self

    @property
    def at_boundary(self) -> bool:
        """Whether the layer turns real numbers into integers or back."""
        return self.takes_integers != self.gives_integers

    def extra_repr(self) -> str:
        settings = [f"{k}={v}" for k, v in self._settings.items() if not isinstance(v, type) and v is not None]
        shapes = [f"{k}={list(v.shape)}" for k, v in self._buffers.items() if v is not None and v.dim()]
        numbers = [f"{k}={v.item():.6g}" for k, v in self._buffers.items() if v is not None and not v.dim()]
        return ", ".join(shapes + settings + numbers)


def computes(integer_op: Callable[..., Any]) -> Callable[[LayerType], LayerType]:
    """Declares that nodes calling `integer_op` are lowered to the decorated layer."""

    def declare(layer: LayerType) -> LayerType:
        LAYERS[integer_op] = layer
        return layer

    return declare
