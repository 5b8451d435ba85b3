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

from torch.fx import GraphModule, Node

from fxquant.fake_quantize.fake_quantize import observer_within
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, decide, is_compound, is_several, is_table, leads, quant_of
from fxquant.graph.limits import backend_limit, call_limit, config_limit, group_size_of
from fxquant.graph.origin import path_of
from fxquant.graph.pipeline import register_pass
from fxquant.interop import as_given
from fxquant.observer import FixedQParamsObserver, ReuseInputObserver
from fxquant.ops.op import Output, op_name, op_of
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import Match


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
        return f"it is the activation of {path_of(activations(node)[0])}, which stays float"
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
    return not isinstance(observer_within(match.qconfig.activation()), FixedQParamsObserver)


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


def _group_size(node: Node) -> int | None:
    """As group_size_of, of a node that may have no weights."""
    row, match = op_of(node), node.meta.get("qconfig")
    return None if row is None or row.weight is None or match is None else group_size_of(match)
