"""What each stage promises about the graph it leaves. Checked in tests and with FXQUANT_DEBUG=1, free otherwise."""

from __future__ import annotations

from collections.abc import Callable

from torch.fx import GraphModule, Node

from fxquant.errors import VerifyError
from fxquant.graph.origin import where
from fxquant.ops.op import SPELLINGS, op_of

Promise = Callable[[GraphModule, Node], str | None]


def _one_vocabulary(gm: GraphModule, node: Node) -> str | None:
    if node.op in ("call_function", "call_method") and op_of(node) is None and node.target in SPELLINGS:
        return None if "reason" in node.meta else f"{node.target} is still in the user's spelling"
    return None


def _decided(gm: GraphModule, node: Node) -> str | None:
    if node.op in ("call_function", "call_module", "call_method") and "quant" not in node.meta:
        return "no decision whether it runs in int8"
    return None


def _no_observers(gm: GraphModule, node: Node) -> str | None:
    if node.op == "call_module" and hasattr(gm.get_submodule(str(node.target)), "calculate_qparams"):
        return "an observer is left after convert"
    return None


def _no_integer_ops(gm: GraphModule, node: Node) -> str | None:
    row = op_of(node)
    if row is not None and row.name.startswith("int8_"):
        return f"{row.name} was not lowered to a kernel"
    return None


PROMISES: dict[str, tuple[Promise, ...]] = {
    "normalize": (_one_vocabulary,),
    "fuse": (_one_vocabulary,),
    "annotate": (_one_vocabulary, _decided),
    "observe": (_one_vocabulary,),
    "convert": (_no_observers,),
    "fold": (_no_observers,),
    "lower": (_no_observers, _no_integer_ops),
    "plan": (_no_observers, _no_integer_ops),
}


def verify(gm: GraphModule, stage: str) -> None:
    """Raises VerifyError naming every node that breaks a promise of `stage`."""
    gm.graph.lint()
    broken = [
        f"  {node.name}, from {where(node)}: {problem}"
        for node in gm.graph.nodes
        for promise in PROMISES[stage]
        if (problem := promise(gm, node))
    ]
    if broken:
        raise VerifyError(f"after {stage} the graph is not what the stage promises:\n" + "\n".join(broken))
