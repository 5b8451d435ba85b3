"""What each stage promises about the graph it leaves. Checked in tests and with FXQUANT_DEBUG=1, free otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.fx import GraphModule, Node

from fxquant.errors import VerifyError
from fxquant.graph.annotation import activations
from fxquant.graph.extract import inlined
from fxquant.graph.integers import integer_values, layer_of
from fxquant.graph.origin import where
from fxquant.graph.surgery import is_tensor
from fxquant.ops.op import SPELLINGS, op_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region

Promise = Callable[[GraphModule], Iterator[tuple[Node, str]]]  # every node that breaks it, and how


def _one_vocabulary(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        users = node.op in ("call_function", "call_method") and op_of(node) is None and node.target in SPELLINGS
        if users and "reason" not in node.meta:
            yield node, f"{node.target} is still in the user's spelling"


def _decided(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        if node.op.startswith("call_") and "quant" not in node.meta:
            yield node, "no decision whether it runs in int8"


def _no_observers(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        if node.op == "call_module" and hasattr(gm.get_submodule(str(node.target)), "calculate_qparams"):
            yield node, "an observer is left after convert"


def _no_integer_ops(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        row = op_of(node)
        if row is not None and row.name.startswith(("int8_", "dynamic_", "weight_only_")):
            yield node, f"{row.name} was not lowered to a kernel"


def _right_dtypes(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """Integers flow into layers and data movement only; layers read nothing else."""
    integers = integer_values(gm)
    for node in gm.graph.nodes:
        if not node.op.startswith("call_") or not is_tensor(node):
            continue
        layer, row = layer_of(gm, node), op_of(node)
        takes = layer.takes_integers if layer is not None else row is not None and row.moves and node in integers
        read = [x for x in activations(node) if is_tensor(x) and x not in _reals(layer, node)]
        wrong = [x.name for x in read if (x in integers) != takes]
        if wrong:
            yield node, f"it reads {', '.join(wrong)}, which {'is not' if takes else 'is'} uint8"


def _reals(layer: Layer | None, node: Node) -> list[Any]:
    """What a layer reads beside activations."""
    if layer is None:
        return []
    return [x for x, name in zip(node.args, layer.inputs, strict=False) if name in layer.reals]


PROMISES: dict[str, tuple[Promise, ...]] = {
    "normalize": (_one_vocabulary,),
    "fuse": (_one_vocabulary,),
    "annotate": (_one_vocabulary, _decided),
    "observe": (_one_vocabulary,),
    "convert": (_no_observers,),
    "fold": (_no_observers,),
    "lower": (_no_observers, _no_integer_ops, _right_dtypes),
    "plan": (_no_observers, _no_integer_ops, _right_dtypes),
}


def problems(gm: GraphModule, stage: str) -> list[tuple[Node, str]]:
    """Every node that breaks a promise of `stage`, and how."""
    gm = inlined(gm, Int8Region)
    return [each for promise in PROMISES[stage] for each in promise(gm)]


def verify(gm: GraphModule, stage: str) -> None:
    """Raises VerifyError naming every node that breaks a promise of `stage`."""
    gm.graph.lint()
    broken = [f"  {node.name}, from {where(node)}: {problem}" for node, problem in problems(gm, stage)]
    if broken:
        raise VerifyError(f"after {stage} the graph is not what the stage promises:\n" + "\n".join(broken))
