"""Which ops run in int8; for every other one, the reason why it stays float.

Ops that compute (convolution, linear, add, mul) run in int8 wherever their qconfig and the kernels allow it. All others
follow their neighbours, since a quantize and a dequantize around one cheap op cost more than it saves:

    int8 if an input is computed in int8, or all users run in int8,
    or all inputs are the graph's own (unless the op only moves them)

The activation of a layer that stays float is float with it: in between, a scale would have to hold what it cuts off.
A qconfig of torch.ao that measures the range of sigmoid and the like means float there; here it does where no neighbour
says otherwise.
The tensors that chunk and split return run where these do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxquant.backend_config import BackendConfig
from fxquant.errors import ConfigError, FxquantError
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, decide, is_compound, is_several, is_table, leads, quant_of
from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import register_pass
from fxquant.graph.weights import TRANSPOSED, output_channels, scale_axis
from fxquant.interop import as_given
from fxquant.observer import FixedQParamsObserver, ObserverBase, PassiveObserver, ReuseInputObserver
from fxquant.ops.op import Op, Output, op_name, op_of
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import LONGEST_REDUCTION


@register_pass(stage="annotate")
def annotate_int8(gm: GraphModule) -> GraphModule:
    followers = []
    for node in gm.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        reason = why_float(gm, node)
        decide(node, int8=reason is None and leads(node), reason=reason or "")
        decide(node, grouped=reason is None and _group_size(node) is not None)
        if reason is None and not leads(node):
            followers.append(node)
    _follow(followers)
    return gm


def why_float(gm: GraphModule, node: Node) -> str | None:
    """The reason why `node` cannot run in int8 whatever its neighbours do, or None."""
    row = op_of(node)
    if "custom" in node.meta:
        return str(node.meta["custom"])
    if row is None:
        return str(node.meta.get("reason") or f"{op_name(gm, node)} is not in the op table")
    if not (row.kernel or row.moves or is_table(node)):
        rows = "; float_qparams_weight_only_qconfig makes integers of its rows" if row.rows else ""
        return str(node.meta.get("reason") or f"there is no int8 kernel for {row.name}{rows}")
    return (
        config_limit(node)
        or call_limit(gm, node, row)
        or (None if row.moves else backend_limit(gm, node, row.weight is not None))
    )


def call_limit(
    gm: GraphModule, node: Node, row: Op, match: Match | None = None, dtypes: tuple[torch.dtype, ...] = (torch.float32,)
) -> str | None:
    """The reason why no kernel takes the call's arguments, under `match` or the node's own qconfig, or None.

    `dtypes`: what its activations may be.
    """
    limit = _type_limit(node, dtypes) or _argument_limit(node, row) or row.limits(row.bind(node))
    return limit or _weight_limit(gm, node, row, match or node.meta["qconfig"])


def _follow(followers: list[Node]) -> None:
    waiting = followers
    while True:
        stay = [node for node in waiting if not _drawn_into_int8(node)]
        for node in waiting:
            if node not in stay:
                decide(node, int8=True, reason="")
        if len(stay) == len(waiting):
            break
        waiting = stay
    for node in waiting:
        decide(node, int8=False, reason=_why_not_drawn(node))


def _why_not_drawn(node: Node) -> str:
    if _is_part(node):
        return "it is a part of what stays float"
    if _finishes_float(node):
        return f"it is the activation of {activations(node)[0].name}, which stays float"
    alone = "neither its inputs nor all of its users run in int8"
    if _reads_inputs_alone(node) and _measures_fixed(node):
        return f"its qconfig, of torch.ao, measures the range that the maths gives, and {alone}"
    return alone


def _drawn_into_int8(node: Node) -> bool:
    inputs = activations(node)
    if any(quant_of(n).int8 for n in inputs):
        return True
    if _is_part(node) or _finishes_float(node):
        return False
    row = op_of(node)
    if _reads_inputs_alone(node) and row is not None and not (row.moves or _reuses(node) or _measures_fixed(node)):
        return True
    users = [u for u in _readers(node) if surgery.is_tensor(u) or _goes_through(u, node)]
    return bool(users) and all(quant_of(u).int8 for u in users)


def _reads_inputs_alone(node: Node) -> bool:
    """Whether all that the op reads are the graph's own inputs."""
    inputs = activations(node)
    return bool(inputs) and all(x.op == "placeholder" for x in inputs)


def _reuses(node: Node) -> bool:
    """Whether the qconfig leaves the qparams to the op's input."""
    match: Match = node.meta["qconfig"]
    return match.qconfig is not None and isinstance(match.qconfig.activation(), ReuseInputObserver)


def _measures_fixed(node: Node) -> bool:
    """Whether the maths gives the op's range, and a qconfig of torch.ao does not."""
    row, match = op_of(node), node.meta["qconfig"]
    if row is None or row.output is not Output.FIXED or match.qconfig is None:
        return False
    if isinstance(as_given(match.qconfig), QConfig):
        return False
    activation = match.qconfig.activation()
    return not isinstance(getattr(activation, "activation_post_process", activation), FixedQParamsObserver)


def _is_part(node: Node) -> bool:
    """Whether the value is one of several that one op returns: it runs where that op does."""
    return any(is_several(x) for x in activations(node))


def _finishes_float(node: Node) -> bool:
    """Whether it is the activation of a layer that stays float, or of what such an activation gives."""
    if not is_table(node):
        return False
    (x,) = activations(node)
    return len(x.users) == 1 and (_finishes_float(x) or (leads(x) and not quant_of(x).int8))


def _goes_through(user: Node, node: Node) -> bool:
    """Whether `user` is a recurrence and `node` its input, not one of its initial states."""
    return is_compound(user) and activations(user)[0] is node


def _readers(node: Node) -> list[Node]:
    """What reads the value, or, of several values, any of them."""
    return [reader for user in node.users for reader in (user.users if is_several(node) else (user,))]


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


def _group_size(node: Node) -> int | None:
    """How many inputs its qconfig wants to share a scale, if it wants groups of them."""
    row, match = op_of(node), node.meta.get("qconfig")
    return None if row is None or row.weight is None or match is None else _size_of_groups(match)


def _size_of_groups(match: Match) -> int | None:
    if match.qconfig is None or match.qconfig.weight is None:
        return None
    size: int | None = getattr(made_by(match.qconfig.weight, match.source), "group_size", None)
    return size


def group_limit(match: Match, weight: Tensor, alone: bool = True) -> str | None:
    """The reason why no kernel takes `weight` in the groups that the qconfig asks for, or None.

    `alone`: it is its op's only weight.
    """
    size = _size_of_groups(match)
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
    origin = origin_of(node)
    if backend is None or origin is None:
        return None
    match: Match = node.meta["qconfig"]
    assert match.qconfig is not None
    activation = made_by(match.qconfig.activation, match.source)
    if not has_weight or match.qconfig.weight is None:
        return backend.refusal([origin.spelling], activation, None)
    return backend.refusal([origin.spelling], activation, made_by(match.qconfig.weight, match.source))


def made_by(factory: Callable[..., Any], source: str) -> Any:
    """The observer that the qconfig of `source` makes; raises ConfigError if it fails, or makes no observer of ours."""
    try:
        made = factory()
    except FxquantError:
        raise
    except Exception as error:  # whatever the user's factory raises
        raise ConfigError(f"the qconfig of {source} makes no observer: {type(error).__name__}: {error}") from error
    if not isinstance(made, ObserverBase):
        raise ConfigError(f"the qconfig of {source} makes a {type(made).__name__}, not an observer of fxquant.observer")
    return made
