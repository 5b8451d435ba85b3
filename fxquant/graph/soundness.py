"""What holds of every graph after every pass, whatever the stage. Each fault is a node, or None, and what is wrong.

structure   a node reads what was computed before it; what it fetches or calls is there, and takes its arguments
meta        says what the tensor is, and what the op gives for inputs as their meta says
interface   the model takes and gives what it did
values      no parameter has become NaN

The meta of an integer value says what it stands for; the value itself is uint8.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from fxquant.graph.called import called, is_called
from fxquant.graph.integers import integer_values
from fxquant.graph.look import Look, constant_of, noted, returned
from fxquant.graph.shapes import Unknown, describe, number_of
from fxquant.graph.tree import value_at
from fxquant.graph.verify import right_dtypes
from fxquant.ops.op import op_of
from fxquant.runtime.layer import Layer

Fault = tuple[Node | None, str]


def faults(gm: GraphModule, before: Look, after: Look) -> Iterator[Fault]:
    """All of them, of a graph that looked like `before` and now looks like `after`."""
    yield from _structure(gm)
    integers, found = integer_values(gm), dict[Node, Any]()
    yield from _meta(gm, before, integers, found)
    yield from _interface(gm, before, after, {node: describe(found[node]) for node in found.keys() - integers})
    yield from _values(gm, before.changed(after))


def _structure(gm: GraphModule) -> Iterator[Fault]:
    present, seen, names = set(gm.graph.nodes), set[Node](), Counter(node.name for node in gm.graph.nodes)
    for node in gm.graph.nodes:
        if names[node.name] > 1:
            yield node, "another node has the same name"
        for x in node.all_input_nodes:
            if x not in present:
                yield node, f"it reads {x.name}, which is not in the graph"
            elif x not in seen:
                yield node, f"it reads {x.name}, which is computed after it"
        seen.add(node)
        if node.op in ("get_attr", "call_module") and value_at(gm, str(node.target)) is None:
            yield node, f"the model has no {node.target} any more"
        elif reason := _unbound(gm, node):
            yield node, reason


def _unbound(gm: GraphModule, node: Node) -> str:
    """Why the arguments of a call do not fit its signature, if they do not."""
    row = op_of(node)
    if row is not None:
        name, signature = row.name, row.signature
    elif node.op == "call_module":
        module = value_at(gm, str(node.target))
        name = type(module).__name__
        signature = inspect.signature(module.run if isinstance(module, Layer) else module.forward)
    else:
        return ""
    try:
        signature.bind(*node.args, **node.kwargs)
    except TypeError as error:
        return f"its arguments do not fit {name}{signature}: {error}"
    return ""


def _meta(gm: GraphModule, before: Look, integers: set[Node], found: dict[Node, Any]) -> Iterator[Fault]:
    """Of nodes that are new or changed, or whose meta is; what they give, without memory, is left in `found`."""
    lines, unfit = set(before.lines), {node for node, _ in right_dtypes(gm)}  # the latter break a promise of the stage
    for node in gm.graph.nodes:
        says = node.meta.get("shape") is not None
        as_before = node.op != "get_attr" and node.format_node() in lines and before.known.get(node.name) == noted(node)
        if not says and node.name in before.known:
            yield node, "its meta has lost the shape"
        elif not as_before and node not in unfit:
            try:
                found[node] = _given(gm, node, integers, found)
            except (Unknown, NotImplementedError):
                continue
            except Exception as error:  # the code of others may raise whatever it likes
                yield node, f"it cannot be computed of what it reads: {type(error).__name__}: {error}"
                continue
            for key, gives in zip(("shape", "dtype"), describe(found[node]), strict=True):
                stands_for_reals = key == "dtype" and node in integers
                if says and not stands_for_reals and gives != node.meta.get(key):
                    yield node, f"its meta[{key!r}] is {_text(node.meta.get(key))}, but it gives {_text(gives)}"
                elif stands_for_reals and any(each.dtype != torch.uint8 for each in pytree.tree_leaves(found[node])):
                    yield node, f"it is to give torch.uint8, but it gives {_text(gives)}"


def _given(gm: GraphModule, node: Node, integers: set[Node], found: dict[Node, Any]) -> Any:
    """What `node` gives, without memory, for what its inputs give. Raises Unknown where that is not known."""
    if node.op == "get_attr":
        tensor = constant_of(gm, node)
        if tensor is None:
            raise Unknown(node.name)
        return tensor.to("meta")
    if not is_called(node):
        raise Unknown(node.name)

    def known(x: Node) -> Any:
        value = found[x] if x in found else number_of(x)
        return pytree.tree_map_only(Tensor, _as_integers, value) if x in integers else value

    args, kwargs = map_arg(node.args, known), map_arg(node.kwargs, known)
    return _computed(node, args, kwargs)


def _as_integers(tensor: Tensor) -> Tensor:
    return tensor.to(torch.uint8)


def _interface(gm: GraphModule, before: Look, after: Look, given: dict[Node, Any]) -> Iterator[Fault]:
    last = next(reversed(gm.graph.nodes), None)
    values, several = list(returned(gm, given)), any(shape is None for shape, _ in before.outputs)
    if len(values) < len(before.outputs) or (len(values) > len(before.outputs) and not several):
        yield last, f"the model gave {len(before.outputs)} values, and gives {len(values)}"
    if after.inputs != before.inputs:
        yield last, f"the model took {', '.join(before.inputs)}, and takes {', '.join(after.inputs) or 'nothing'}"
    if len(values) != len(before.outputs):
        return
    for i, ((node, *gives), was) in enumerate(zip(values, before.outputs, strict=True)):
        for old, new in zip(was, gives, strict=True):
            if old is not None and new is not None and old != new:
                yield node or last, f"output {i} of the model was {_text(old)}, and is {_text(new)}"


def _computed(node: Node, args: Any, kwargs: Any) -> Any:
    """What `node` calls, on tensors without memory.

    Where that raises, zeros decide: an error of the same type is the caller's, any other outcome says that the code
    asks for numbers, which is Unknown.
    """
    with torch.no_grad():
        try:
            return called(node, args, kwargs)
        except Exception as error:
            args, kwargs = pytree.tree_map_only(Tensor, lambda t: torch.zeros_like(t, device="cpu"), (args, kwargs))
            try:
                called(node, args, kwargs)
            except type(error):
                raise
            except Exception:
                raise Unknown from error
            raise Unknown from error


def _values(gm: GraphModule, changed: list[str]) -> Iterator[Fault]:
    for node in gm.graph.nodes:
        if node.op == "get_attr" and str(node.target) in changed:
            tensor = constant_of(gm, node)
            if tensor is not None and tensor.is_floating_point() and bool(tensor.isnan().any()):
                yield node, f"{node.target} holds NaN"


def _text(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)
