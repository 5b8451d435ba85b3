"""Why a call cannot run in integers whatever its neighbours do: its qconfig, its arguments, its weights, the backend.

Each function gives the reason as `explain` tells it, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxquant.backend_config import BackendConfig
from fxquant.errors import ConfigError, FxquantError
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, is_several
from fxquant.graph.origin import origin_of
from fxquant.graph.weights import TRANSPOSED, output_channels, scale_axis
from fxquant.graph.written import is_written_as
from fxquant.observer import ObserverBase, PassiveObserver, ReuseInputObserver
from fxquant.ops.op import Op, Output, op_of
from fxquant.qconfig_mapping import Match
from fxquant.qparams import LONGEST_REDUCTION


def config_limit(node: Node) -> str | None:
    """The reason why the node's qconfig keeps it float, whatever the op, or None."""
    match = node.meta.get("qconfig")
    if match is None or match.qconfig is None:
        return (match.reason or f"its qconfig is None, by {match.source}") if match else "no qconfig reaches it"
    activation = made_by(match.qconfig.activation, match.source)
    if activation.is_dynamic:
        return "its qconfig is dynamic, and it has no kernel that finds scales at run time"
    if activation.dtype not in (torch.uint8, torch.int8):
        return f"its qconfig asks for {activation.dtype} activations; kernels take 8-bit integers"
    row = op_of(node)
    if isinstance(activation, ReuseInputObserver):
        passes_on = row is not None and row.output is Output.SAME
        return None if passes_on else "its qconfig takes the input's qparams, and it computes other values"
    if isinstance(activation, PassiveObserver):
        return "its qconfig observes no activations"
    if getattr(activation, "ch_axis", None) is not None:
        return "its qconfig asks for activations with a scale a channel; kernels take one scale"
    return None


def call_limit(
    gm: GraphModule, node: Node, row: Op, match: Match | None = None, dtypes: tuple[torch.dtype, ...] = (torch.float32,)
) -> str | None:
    """The reason why no kernel takes the call's arguments, under `match` or the node's own qconfig, or None.

    `dtypes`: what its activations may be.
    """
    limit = _type_limit(node, dtypes) or _argument_limit(node, row) or row.limits(row.bind(node))
    return limit or _weight_limit(gm, node, row, match or node.meta["qconfig"])


def _type_limit(node: Node, dtypes: tuple[torch.dtype, ...]) -> str | None:
    for value in [*activations(node), node]:
        given = value.meta.get("dtype") or torch.float32
        wrong = {*(given if isinstance(given, tuple) else (given,))} - {*dtypes}
        if wrong:
            allowed = " or ".join(str(each).removeprefix("torch.") for each in dtypes)
            return f"{value.name} is {wrong.pop()}, not {allowed}"
        if value.meta.get("extreme"):
            return f"{value.name} holds values such as the -inf of a mask, which no 8-bit scale holds beside others"
        if not surgery.is_tensor(value) and not is_several(value):
            return f"{value.name} is not a tensor"
    return None


def _argument_limit(node: Node, row: Op) -> str | None:
    """Tables and layers are made beforehand, of constants; only movement takes its arguments as they come."""
    if row.several and any(not _takes_one(user) for user in node.users):
        return "its tensors are read together, not one by one"
    if row.output is Output.NONE and not any(op_of(user).kernel for user in node.users):  # type: ignore[union-attr]
        return "only its last state is read, of what it computes"
    if row.moves:
        return None
    free = (*row.activations, *row.weights, row.bias, *row.at_run_time)
    for name, value in row.bind(node).items():
        found: list[Node] = []
        map_arg(value, found.append)
        if name not in free and any(n.op != "get_attr" for n in found):
            return f"its {name} is computed while the model runs; it must be a constant"
    return None


def _takes_one(user: Node) -> bool:
    row = op_of(user)
    return row is not None and row.name in ("getitem", "hidden_states", "cell_state")


def _weight_limit(gm: GraphModule, node: Node, row: Op, match: Match) -> str | None:
    arguments = row.bind(node)
    for role in (*row.weights, row.bias):
        value = arguments.get(role) if role else None
        if isinstance(value, Node) and value.op != "get_attr":
            return f"its {role} is computed, not a parameter"
    for role in row.weights:
        weight = surgery.fetch(gm, arguments[role])
        reduction = weight.numel() // max(output_channels(row, weight, arguments), 1)
        if reduction > LONGEST_REDUCTION:
            return f"a reduction over {reduction} elements could overflow int32; at most {LONGEST_REDUCTION} fit"
        limit = weight_config_limit(match, _scale_axes(match, row, weight, arguments))
        limit = limit or group_limit(match, weight, alone=not row.other_weights)
        if limit is not None:
            return limit
    return None


def group_size_of(match: Match) -> int | None:
    """How many inputs of a row of weights share a scale, if the qconfig wants groups of them."""
    if match.qconfig is None or match.qconfig.weight is None:
        return None
    size: int | None = getattr(made_by(match.qconfig.weight, match.source), "group_size", None)
    return size


def group_limit(match: Match, weight: Tensor, alone: bool = True) -> str | None:
    """The reason why no kernel takes `weight` in the groups that the qconfig asks for, or None.

    `alone`: it is its op's only weight.
    """
    size = group_size_of(match)
    if size is None:
        return None
    if weight.dim() != 2 or not alone:
        return f"its qconfig asks for groups of {size} inputs; only linear has a kernel for groups"
    if weight.shape[1] % size:
        return f"its qconfig asks for groups of {size} inputs, which do not divide its {weight.shape[1]}"
    return None


def _scale_axes(match: Match, row: Op, weight: Tensor, arguments: dict[str, Any]) -> tuple[int, ...]:
    """The first one is what the kernels take. The other is how a transposed convolution is configured.

    A dynamic qconfig is one for all ops: its axis 0 means the outputs.
    """
    axis = scale_axis(row, weight, arguments)
    if row.name not in TRANSPOSED:
        return (axis,)
    assert match.qconfig is not None
    return (axis, 1, 0) if made_by(match.qconfig.activation, match.source).is_dynamic else (axis, 1)


def weight_config_limit(match: Match, axes: tuple[int, ...]) -> str | None:
    """The reason why no kernel takes weights as the qconfig has them, with a scale along one of `axes`, or None."""
    if match.qconfig is None or match.qconfig.weight is None:
        return "its qconfig has no weight observer"
    weight = made_by(match.qconfig.weight, match.source)
    if weight.dtype is not torch.int8:
        return f"its qconfig asks for {weight.dtype} weights; kernels take int8"
    if not weight.qscheme.symmetric:
        return "its qconfig asks for affine weights; kernels take symmetric ones"
    asked = getattr(weight, "ch_axis", None)
    if asked not in (None, *axes):
        return f"its qconfig asks for weights with a scale along axis {asked}; kernels take axis {axes[0]}, the outputs"
    return None


def backend_limit(gm: GraphModule, node: Node, has_weight: bool) -> str | None:
    """What the user's BackendConfig says of the call as the user wrote it; movement follows its neighbours anyway."""
    backend: BackendConfig | None = gm.meta.get("backend_config")
    if backend is None or origin_of(node) is None:
        return None
    match: Match = node.meta["qconfig"]
    assert match.qconfig is not None
    activation = made_by(match.qconfig.activation, match.source)
    weighted = has_weight and match.qconfig.weight is not None
    weight = made_by(match.qconfig.weight, match.source) if weighted else None
    return backend.refusal(partial(is_written_as, node), activation, weight)


def made_by(factory: Callable[..., Any] | None, source: str) -> Any:
    """The observer that the qconfig of `source` makes; raises ConfigError if it fails, or makes no observer of ours."""
    if factory is None:
        raise ConfigError(f"the qconfig of {source} has no observer where one is needed; give one")
    try:
        made = factory()
    except FxquantError:
        raise
    except Exception as error:  # whatever the user's factory raises
        raise ConfigError(f"the qconfig of {source} makes no observer: {type(error).__name__}: {error}") from error
    if not isinstance(made, ObserverBase):
        raise ConfigError(f"the qconfig of {source} makes a {type(made).__name__}, not an observer of fxquant.observer")
    return made
