"""The class of a finished model: a GraphModule whose `meta` also survives pickling."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import GraphModule, Node

from fxquant.graph.expect import expect_options
from fxquant.runtime.region import Int8Region, run


class QuantizedModule(GraphModule):
    """What `convert_fx` returns. `meta["explanation"]` holds the rows of `explain`."""

    def recompile(self) -> Any:
        """Regenerates the code of the graph."""
        code = super().recompile()
        kind: Any = type(self)
        del kind.__call__  # GraphModule's, which takes time to look for errors in generated code
        *inputs, call, output = [node for node in self.graph.nodes if node.target is not expect_options]
        region = self._modules.get(str(call.target))
        if isinstance(region, Int8Region) and list(call.args) == _data(inputs) and output.args == (call,):
            kind.forward = _straight_to(str(call.target), kind.forward, len(call.args))
        return code

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Int8Region):
                _move_into_region(state_dict, prefix, f"{prefix}{name}.", module)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __reduce__(self) -> Any:
        rebuild, arguments = super().__reduce__()
        return _rebuild, (rebuild, arguments, type(self).__name__, self.meta)


def _data(inputs: Sequence[Node]) -> list[Node]:
    """What stands before the first input that is an option, or that a call may leave out."""
    return list(itertools.takewhile(lambda node: node.op == "placeholder" and not node.args, inputs))


def _straight_to(region: str, forward: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """The `forward` of a graph that only calls `region`, without the time that two more calls take."""

    @functools.wraps(forward)
    def straight(self: QuantizedModule, *args: Any, **kwargs: Any) -> Any:
        module: Any = self._modules[region]
        if kwargs or len(args) != inputs or module._forward_hooks or module._forward_pre_hooks:
            return forward(self, *args, **kwargs)
        return run(module, *args)

    return straight


def _move_into_region(state_dict: dict[str, Any], outside: str, inside: str, region: Int8Region) -> None:
    """Gives the region's entries, saved under `outside`, the names that loading looks for, under `inside`."""
    for key in region.state_dict():
        if outside + key in state_dict:
            state_dict[inside + key] = state_dict.pop(outside + key)


def _rebuild(
    rebuild: Callable[..., GraphModule], arguments: tuple[Any, ...], name: str, meta: dict[str, Any]
) -> QuantizedModule:
    return finished(rebuild(*arguments), name, meta)


def finished(gm: GraphModule, name: str, meta: dict[str, Any]) -> QuantizedModule:
    """`gm` as a QuantizedModule called `name`, with `meta`."""
    module = QuantizedModule(gm, gm.graph, name)
    module.train(gm.training)
    module.meta.update(meta)
    return module
