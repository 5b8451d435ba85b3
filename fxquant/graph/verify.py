"""What each stage promises about the graph it leaves. Checked in tests and with FXQUANT_DEBUG=1, free otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.errors import VerifyError
from fxquant.graph.annotation import Quant, activations, integer_weights, is_table, quant_of
from fxquant.graph.extract import inlined
from fxquant.graph.integers import integer_values, layer_of
from fxquant.graph.interface import outputs_of
from fxquant.graph.origin import where
from fxquant.graph.surgery import is_tensor
from fxquant.graph.watching import is_statistic, is_watcher
from fxquant.ops.op import SPELLINGS, op_of
from fxquant.runtime.layer import LAYERS, Layer
from fxquant.runtime.region import Int8Region

Promise = Callable[[GraphModule], Iterator[tuple[Node, str]]]  # every node that breaks it, and how


def _one_vocabulary(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        users = node.op in ("call_function", "call_method") and op_of(node) is None and node.target in SPELLINGS
        if users and "reason" not in node.meta:
            yield node, f"{node.target} is still in the user's spelling"


def _decided(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        if not node.op.startswith("call_"):
            continue
        quant, row = node.meta.get("quant"), op_of(node)
        if not isinstance(quant, Quant):
            yield node, "no decision whether it runs in int8" if quant is None else f"its meta['quant'] is {quant!r}"
        elif quant.int8 and row is not None and not (row.kernel or row.moves or is_table(node)):
            yield node, f"it is to run in int8, but there is no int8 kernel for {row.name}"


def _observed(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """What is to be integers is observed, and an observer's call says of what it is the observer."""
    for node in gm.graph.nodes:
        observer = node.meta.get("observer")
        if observer is not None and quant_of(node).observe and not any(map(is_watcher, node.users)):
            yield node, f"nothing calls {observer}, which is to observe it"
        elif observer is not None and not _observes(gm, observer):
            yield node, f"nothing calls {observer}, whose range is to be its own"
        row = op_of(node)
        for name in integer_weights(node):
            weight = row.bind(node)[name]  # type: ignore[union-attr]
            if not (weight.op == "call_module" and _observes(gm, weight.target)):
                yield node, f"its {name} is not observed, and is to be integers"
        if node.op == "call_module" and _observes(gm, node.target) and not is_statistic(node):
            watched = node.all_input_nodes
            if not is_watcher(node) and [x.op for x in watched] != ["get_attr"]:
                yield node, f"the meta of {', '.join(x.name for x in watched)} does not say that this observes it"


def _observes(gm: GraphModule, path: Any) -> bool:
    module = dict(gm.named_modules()).get(str(path))
    return hasattr(module, "calculate_qparams")


def _no_observers(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        if node.op == "call_module" and hasattr(gm.get_submodule(str(node.target)), "calculate_qparams"):
            yield node, "an observer is left after convert"


def _no_integer_ops(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    for node in gm.graph.nodes:
        row = op_of(node)
        if row is not None and row.name.startswith(("int8_", "dynamic_", "weight_only_")):
            yield node, f"{row.name} was not lowered to a kernel"


def right_dtypes(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """Integers flow into integer ops, their layers and data movement only; these read nothing else."""
    integers = integer_values(gm)
    for node in gm.graph.nodes:
        if not node.op.startswith("call_") or not is_tensor(node):
            continue
        kind, row = layer_of(gm, node) or LAYERS.get(node.target), op_of(node)
        takes = kind.takes_integers if kind is not None else row is not None and row.moves and node in integers
        read = [x for x in _activations(kind, node) if isinstance(x, Node) and is_tensor(x)]
        wrong = [x.name for x in read if (x in integers or (takes and _is_integer_weight(x))) != takes]
        if wrong:
            yield node, f"it reads {', '.join(wrong)}, which {'is not' if takes else 'is'} uint8"


def _right_outputs(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """The model gives integers where the user asked for them, and nowhere else."""
    integers, asked = integer_values(gm), gm.meta.get("output_qparams", {})
    for index, x in enumerate(outputs_of(gm)):
        if is_tensor(x) and (x in integers) != (index in asked):
            yield x, f"output {index} of the model is {'not ' if index in asked else ''}uint8"


def _activations(kind: Layer | type[Layer] | None, node: Node) -> list[Any]:
    """What `node` reads as activations, whether it calls an op or the layer that an op was lowered to."""
    if kind is None:
        return list(activations(node))
    row = op_of(node)
    given = dict(zip(kind.inputs, node.args, strict=False)) if row is None else row.bind(node)
    return [given.get(name) for name in kind.inputs if name not in kind.reals]


def _is_integer_weight(x: Node) -> bool:
    return x.op == "get_attr" and x.meta.get("dtype") in (torch.uint8, torch.int8)


def _same_qparams(gm: GraphModule) -> Iterator[tuple[Node, str]]:
    """dequantize(quantize(x, q), q): the integers stand for the reals that they were made of."""
    for node in gm.graph.nodes:
        x = node.args[0] if node.target is ops.dequantize else None
        if isinstance(x, Node) and x.target is ops.quantize and _numbers(x.args[1]) != _numbers(node.args[1]):
            yield node, f"its qparams are {node.args[1]}, but {x.name} quantizes with {x.args[1]}"


def _numbers(q: Any) -> list[Any]:
    return [x.tolist() if isinstance(x, Tensor) else x for x in q]


PROMISES: dict[str, tuple[Promise, ...]] = {
    "normalize": (_one_vocabulary,),
    "fuse": (_one_vocabulary,),
    "annotate": (_one_vocabulary, _decided),
    "observe": (_one_vocabulary, _observed),
    "convert": (_no_observers, right_dtypes, _right_outputs, _same_qparams),
    "fold": (_no_observers, right_dtypes, _right_outputs, _same_qparams),
    "lower": (_no_observers, _no_integer_ops, right_dtypes, _right_outputs),
    "plan": (_no_observers, _no_integer_ops, right_dtypes, _right_outputs),
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
