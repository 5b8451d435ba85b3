"""The class of a finished model: a GraphModule whose `meta` also survives pickling."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxquant.drawing.notebook import ShownInNotebooks
from fxquant.errors import ConfigError, UnsupportedError
from fxquant.graph.expect import expect_options
from fxquant.graph.parts import captures_of
from fxquant.runtime.failure import complain
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region, outer_prefix, run


class QuantizedModule(ShownInNotebooks, GraphModule):
    """What `convert_fx` returns.

    `meta["explanation"]` holds the rows of `explain`, `meta["inputs"]` a pair for each input: shape and dtype of the
    example that the model was prepared with, each None for what is no tensor.
    """

    def recompile(self) -> Any:
        """Regenerates the code of the graph."""
        code = super().recompile()
        kind: Any = type(self)
        del kind.__call__  # GraphModule's, which takes time to look for errors in generated code
        kind.forward = _explaining(kind.forward)
        *inputs, call, output = [node for node in self.graph.nodes if node.target is not expect_options]
        region = self._modules.get(str(call.target))
        if isinstance(region, Int8Region) and list(call.args) == _data(inputs) and output.args == (call,):
            kind.forward = _straight_to(str(call.target), kind.forward, len(call.args))
        return code

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Int8Region):
                _load_region(module, state_dict, f"{prefix}{name}.", *args)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __copy__(self) -> QuantizedModule:
        return finished(self, type(self).__name__, self.meta)

    def __deepcopy__(self, memo: Any) -> QuantizedModule:
        copied: Any = super().__deepcopy__(memo)
        type(copied).__name__ = type(self).__name__  # each GraphModule is of a class of its own
        return copied  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        rebuild, arguments = super().__reduce__()
        return _rebuild, (rebuild, arguments, type(self).__name__, self.meta)


def _data(inputs: Sequence[Node]) -> list[Node]:
    """What stands before the first input that is an option, or that a call may leave out."""
    return list(itertools.takewhile(lambda node: node.op == "placeholder" and not node.args, inputs))


def _explaining(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, whose errors name the place in the user's model."""

    @functools.wraps(forward)
    def explaining(self: QuantizedModule, *args: Any, **kwargs: Any) -> Any:
        try:
            return forward(self, *args, **kwargs)
        except Exception as error:
            complain(self, error, args, kwargs)
            raise

    return explaining


def _straight_to(region: str, forward: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """The `forward` of a graph that only calls `region`, without the time that two more calls take."""

    @functools.wraps(forward)
    def straight(self: QuantizedModule, *args: Any, **kwargs: Any) -> Any:
        module: Any = self._modules[region]
        if kwargs or len(args) != inputs or module._forward_hooks or module._forward_pre_hooks:
            return forward(self, *args, **kwargs)
        try:
            return run(module, *args)
        except Exception as error:
            complain(self, error, args, kwargs)
            raise

    return straight


def _load_region(region: Int8Region, state_dict: dict[str, Any], inside: str, *args: Any) -> None:
    """Loads the region's entries under the names that they are saved by, so that errors speak of these.

    Leaves in `state_dict` what torch looks for next, under the prefix `inside`: what the region holds by now.
    """
    for path, module in region.named_modules():
        at = outer_prefix(inside) + (f"{path}." if path else "")
        names = [f"{at}{name}" for name in (*module._parameters, *module._buffers)]
        own = {name: state_dict.pop(name) for name in names if name in state_dict}
        module._load_from_state_dict(own, at, *args)
    state_dict.update({f"{inside}{name}": value for name, value in region.state_dict().items()})


def _rebuild(
    rebuild: Callable[..., GraphModule], arguments: tuple[Any, ...], name: str, meta: dict[str, Any]
) -> QuantizedModule:
    return finished(rebuild(*arguments), name, meta)


def as_one_graph(model: object, taker: str) -> QuantizedModule:
    """`model`, for the function called `taker`.

    Raises ConfigError unless convert_fx returned it, and UnsupportedError where the user's own code runs around graphs.
    """
    if isinstance(model, QuantizedModule):
        return model
    if isinstance(model, nn.Module) and any(isinstance(part, QuantizedModule) for part in model.modules()):
        reason = next((each.reason for each in captures_of(model)), "it holds what convert_fx returned")
        raise UnsupportedError(
            f"{taker} takes a graph, but the code of {type(model).__name__} runs as Python: {reason}"
        )
    kind = type(model).__name__
    if isinstance(model, nn.Module) and any(isinstance(part, Layer) for part in model.modules()):
        kind += "; prepare_fx and convert_fx take the qconfigs of quantize_dynamic, and give a graph"
    raise ConfigError(f"{taker} takes what convert_fx returned, not a {kind}")


def finished(gm: GraphModule, name: str, meta: dict[str, Any]) -> QuantizedModule:
    """`gm` as a QuantizedModule called `name`, with `meta`."""
    inputs = tuple(_example(node) for node in gm.graph.nodes if node.op == "placeholder")
    module = QuantizedModule(gm, gm.graph, name)
    module.train(gm.training)
    module.meta.update({"inputs": inputs, **meta})
    return module


def _example(placeholder: Node) -> tuple[torch.Size | None, torch.dtype | None]:
    shape, dtype = placeholder.meta.get("shape"), placeholder.meta.get("dtype")
    return (shape, dtype) if isinstance(shape, torch.Size) else (None, None)
