"""The class of a finished model: a GraphModule whose `meta` also survives pickling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.runtime.region import Int8Region, outer_prefix, run


class QuantizedModule(GraphModule):
    """What `convert_fx` returns.

    `meta["explanation"]` holds the rows of `explain`, `meta["inputs"]` a pair for each input: shape and dtype of the
    example that the model was prepared with, each None for what is no tensor.
    """

    def recompile(self) -> Any:
        """Regenerates the code of the graph."""
        code = super().recompile()
        kind: Any = type(self)
        del kind.__call__  # GraphModule's, which takes time to look for errors in generated code
        *inputs, call, output = self.graph.nodes
        region = self._modules.get(str(call.target))
        if isinstance(region, Int8Region) and list(call.args) == inputs and output.args == (call,):
            kind.forward = _straight_to(str(call.target), kind.forward, len(inputs))
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


def _straight_to(region: str, forward: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """The `forward` of a graph that only calls `region`, without the time that two more calls take."""

    @functools.wraps(forward)
    def straight(self: QuantizedModule, *args: Any, **kwargs: Any) -> Any:
        module: Any = self._modules[region]
        if kwargs or len(args) != inputs or module._forward_hooks or module._forward_pre_hooks:
            return forward(self, *args, **kwargs)
        return run(module, *args)

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
