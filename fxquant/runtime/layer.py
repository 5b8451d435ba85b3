"""The form of an int8 layer: an integer op with its constants, computed by a kernel.

Lowering turns every integer op into such a module. All its numbers are buffers, so a state_dict holds the whole layer;
what the kernel wants of them (packed weights, plain Python numbers) is derived again whenever they change or move to
another machine, and never saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from fxquant.errors import InputError
from fxquant.ops.op import OPS
from fxquant.runtime.constants import check_constants, check_names, check_scale
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.programs import forget_programs
from fxquant.runtime.tracing import NotScripted, recorded
from fxquant.runtime.value import Halo, Value
from fxquant.runtime.work import multiply_adds

LAYERS: dict[Callable[..., Any], type[Layer]] = {}
# The buffer that says what one step of a layer's result stands for. No kernel needs it; exports do.
OUTPUT_SCALE = "output_scale"
LayerType = TypeVar("LayerType", bound="type[Layer]")


class Layer(NotScripted):
    """Base of all int8 layers. Subclasses say in `derive` what their kernel wants, and call it in `run`."""

    integer_op: ClassVar[Callable[..., Any]]
    # Arguments of the integer op that arrive at run time, in the order of `run`. All others are constants.
    inputs: tuple[str, ...] = ("x",)
    # Whether the layer reads and gives uint8; one that does only one of the two stands at the boundary to float.
    takes_integers = True
    gives_integers = True
    # Whether a program has it for values of bfloat16, too.
    takes_halves = False
    # Inputs that are no quantized activations: masks, indices.
    reals: tuple[str, ...] = ()
    # Whether it can be a part of a native program.
    plannable = True
    # Another dtype than usual that a constant may have.
    also: ClassVar[Mapping[str, torch.dtype]] = MappingProxyType({})
    # Positions of the inputs that the kernel may write its result over.
    overwrites: tuple[int, ...] = ()
    # Whether the kernel writes results of any strides; if not, a dense one is all that it can write.
    any_strides = True
    # Whether a program, while it is planned, computes what the layer gives of tensors that follow from sizes alone.
    ahead = False
    # What the kernel wants around its first input, so as to read it in place.
    halo = Halo()
    # The place in the user's model, for messages.
    where = ""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {}
        for name, value in constants.items():
            if value is not None:
                self._keep(name, value)
        self.derive()

    @classmethod
    def restored(cls, settings: Mapping[str, Any], buffers: Mapping[str, Tensor]) -> Layer:
        """The layer whose `settings` and buffers these are. Raises InputError if they are not those of such a layer."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._settings = dict(settings)
        for name, tensor in buffers.items():
            layer.register_buffer(name, tensor)
        layer._check()
        layer.derive()
        return layer

    @property
    def settings(self) -> Mapping[str, Any]:
        """What no buffer holds: numbers that fix shapes, options, and for each NamedTuple its class."""
        return self._settings

    def note_output_scale(self, scale: float) -> None:
        """Keeps what one step of the result stands for."""
        self._keep(OUTPUT_SCALE, scale)

    def _check(self) -> None:
        row = OPS[self.integer_op]
        names = [name for name in row.signature.parameters if name not in self.inputs]
        check_constants(row.body, {name: self.constant(name) for name in names}, self.also)
        scale = self.constant(OUTPUT_SCALE)
        check_names({*self._settings, *self._buffers} - {OUTPUT_SCALE}, names)
        if scale is not None:
            check_scale(OUTPUT_SCALE, scale)

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

    def emit(self, emitter: Emitter, y: Value, *inputs: Any) -> None:
        """Appends to a program the kernel calls that write to `y` what `run` computes of `inputs`."""
        raise NotImplementedError

    def multiply_adds(self, y: Tensor, *inputs: Any) -> int:
        """How many it takes to compute `y`; 0 for a layer that multiplies no matrices."""
        weight: Tensor | None = self.constant("weight")
        return 0 if weight is None else multiply_adds(weight, y)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        """Whether what it computes of one index of dimension 0 depends on another one; `inputs` have no memory."""
        return False

    def hands_on(self, *inputs: Any) -> int | None:
        """Which of its inputs it gives as it is, broadcast, whatever the others hold; None for what it computes.

        Inputs have no memory, but for those that follow from sizes alone.
        """
        return None

    def check(self, *inputs: Any) -> None:
        """Raises InputError for inputs that `run` is not to see, of those that a user may pass."""

    def check_dtypes(self, *inputs: Any) -> None:
        """Raises InputError for reals where the model takes integers."""
        if not self.takes_integers:
            return
        codes = [x for x, name in zip(inputs, self.inputs, strict=False) if name not in self.reals]
        wrong = [x.dtype for x in codes if isinstance(x, Tensor) and x.dtype is not torch.uint8]
        if wrong:
            raise InputError(
                f"the model takes uint8 integers here, not {wrong[0]}; quantize by its meta['input_qparams']"
            )

    def forward(self, *inputs: Any) -> Any:
        """Runs the kernel. Raises InputError, naming the place, for a tensor that the layer cannot take."""
        call = recorded(self, inputs)
        if call is not None:
            return call
        try:
            self.check(*inputs)
            self.check_dtypes(*inputs)
            return self.run(*inputs)
        except InputError as error:
            raise InputError(f"{self.where or type(self).__name__}: {error}") from None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._check()
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
        """Whether all that the layer does is to turn real numbers into integers or back."""
        return self.takes_integers != self.gives_integers and self.constant("weight") is None

    def extra_repr(self) -> str:
        settings = [f"{k}={v}" for k, v in self._settings.items() if not isinstance(v, type) and v is not None]
        shapes = [f"{k}={list(v.shape)}" for k, v in self._buffers.items() if v is not None and v.dim()]
        numbers = [f"{k}={v.item():.6g}" for k, v in self._buffers.items() if v is not None and not v.dim()]
        return ", ".join(shapes + settings + numbers)


def computes(integer_op: Callable[..., Any]) -> Callable[[LayerType], LayerType]:
    """Declares that nodes calling `integer_op` are lowered to the decorated layer."""

    def declare(layer: LayerType) -> LayerType:
        LAYERS[integer_op] = layer
        layer.integer_op = staticmethod(integer_op)
        return layer

    return declare
