"""Integer ops that a plug-in brings: a Python meaning, which is enough, and a kernel, which makes it fast.

    @integer_op()
    def int8_maxout(x: Tensor, pieces: int) -> Tensor: ...

    @kernel_for(int8_maxout)
    def maxout_in_c(x: Tensor, pieces: int) -> Tensor: ...

Each is lowered to a layer of its own, like any integer op: its constants are buffers, a file holds them, explain and
draw show it. It splits a region, since no native program can call it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from fxquant.errors import ConfigError
from fxquant.ops.op import OPS, op
from fxquant.runtime.layer import LAYERS, Layer, computes

Body = TypeVar("Body", bound=Callable[..., Any])

KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}


class BroughtLayer(Layer):
    """Runs the kernel that the plug-in brings for its op, or else the op's own body."""

    plannable = False

    def derive(self) -> None:
        names = [name for name in OPS[self.integer_op].signature.parameters if name not in self.inputs]
        given = {name: self.constant(name) for name in names}
        self.derived_arguments = {name: value for name, value in given.items() if value is not None}

    def run(self, *inputs: Any) -> Any:
        body = OPS[self.integer_op].body
        known = all(type(x) is Tensor for x in inputs if isinstance(x, Tensor))  # no fake one, of torch.export
        code = KERNELS.get(self.integer_op, body) if known else body
        return code(**dict(zip(self.inputs, inputs, strict=False)), **self.derived_arguments)

    def __reduce__(self) -> Any:
        return _unfilled, (OPS[self.integer_op].key,), self.__getstate__()


def _unfilled(key: str) -> Layer:
    """A layer of the op of that name, as pickle wants it. Raises ConfigError if its plug-in is not imported."""
    kind = next((layer for call, layer in LAYERS.items() if OPS[call].key == key), None)
    if kind is None:
        raise ConfigError(f"the model calls {key}, an op of a plug-in; import what registers it first")
    return kind.__new__(kind)


def integer_op(*, inputs: tuple[str, ...] = ("x",)) -> Callable[[Body], Body]:
    """Declares the decorated body as an op on uint8 tensors of any strides; those named in `inputs` come at run time.

    All other arguments are constants: tensors, numbers, strings, tuples of these and the NamedTuples of
    fxquant.qparams. Raises ConfigError for a name whose layer another op has.
    """

    def declare(body: Body) -> Body:
        name = "".join(word.capitalize() for word in body.__name__.split("_"))
        call = op(activations=inputs)(body)
        if any(each.__name__ == name and OPS[of].key != OPS[call].key for of, each in LAYERS.items()):
            raise ConfigError(f"an integer op has a layer {name} already; choose another name for {OPS[call].key}")
        computes(call)(type(name, (BroughtLayer,), {"inputs": inputs, "__doc__": body.__doc__}))
        return call

    return declare


def kernel_for(integer_op: Callable[..., Any]) -> Callable[[Body], Body]:
    """Declares that the decorated function computes, bit for bit, what `integer_op` means. It takes its arguments.

    Raises ConfigError if `integer_op` is none of a plug-in's.
    """
    if not issubclass(LAYERS.get(integer_op, Layer), BroughtLayer):
        raise ConfigError(f"{getattr(integer_op, '__name__', integer_op)} is not decorated with @integer_op()")

    def declare(kernel: Body) -> Body:
        KERNELS[integer_op] = kernel
        return kernel

    return declare
