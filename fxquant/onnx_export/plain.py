"""Functions and methods outside the op table that have a form of one or two nodes in ONNX."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from fxquant.errors import UnsupportedError
from fxquant.onnx_export.builder import Builder, Export
from fxquant.onnx_export.floats import padded

# By the name that a function and the method of tensors share.
_UNARY = "acos acosh asin asinh atan atanh ceil cos cosh erf exp floor log neg reciprocal round sign sin sinh sqrt tan"
_COMPARISONS = {"eq": "Equal", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "lt": "Less"}
_ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "truediv": "Div", "pow": "Pow"}
_LOGIC = {"and": "And", "or": "Or", "xor": "Xor"}
_NEGATIONS = ("logical_not", "bitwise_not", "invert")
_CASTS = ("to", "type", "bool", "double", "float", "int", "long", "short", "half", "type_as")
_REDUCTIONS = {"sum": "ReduceSum", "prod": "ReduceProd", "amax": "ReduceMax", "amin": "ReduceMin"}


def plain(node: Node) -> Export | None:
    """How a function outside the op table is exported, if `node` calls one that has a form. Takes the node's args."""
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    name = name.removeprefix("linalg_")
    modules = (torch, operator, torch.linalg, torch.nn.functional)
    if node.op != "call_method" and not any(getattr(m, name, None) is node.target for m in modules):
        return None
    if node.target is operator.getitem:
        return _picked
    if node.op == "call_method" and name in _CASTS:
        return lambda b, x, *_: b.operand(x)
    if name in _REDUCTIONS or name in ("norm", "vector_norm"):
        return _reduction(node, name)
    if name in ("clamp", "clip"):
        bounds = [_option(node, 1, "min", None), _option(node, 2, "max", None)]
        return lambda b, x, *_: b.add("Clip", b.operand(x), *("" if end is None else b.operand(end) for end in bounds))
    if name in ("cumsum", "argmax", "argmin"):
        return _along(node, name)
    if name == "normalize" and _option(node, 1, "p", 2.0) == 2 and isinstance(_option(node, 2, "dim", 1), int):
        dim, eps = _option(node, 2, "dim", 1), _option(node, 3, "eps", 1e-12)
        return lambda b, x, *_: _normalized(b, x, dim, eps)
    if name == "pad" and _option(node, 2, "mode", "constant") == "constant":
        amounts, value = _option(node, 1, "pad", None), _option(node, 3, "value", None)
        return lambda b, x, *_: padded(b, x, b.known(amounts), b.examples[x].new_tensor(value or 0))
    if node.kwargs:
        return None
    return _of_args(name.strip("_"), len(node.args))


def _of_args(name: str, count: int) -> Export | None:
    """Of functions that are told all by position."""
    if count == 1 and name in ("abs", *_UNARY.split()):
        return lambda b, x: b.add(name.capitalize(), b.operand(x))
    if count == 1 and name in _NEGATIONS:
        return _negated
    if count == 2 and name in _COMPARISONS:
        return lambda b, x, y: b.add(_COMPARISONS[name], *_alike(b, x, y))
    if count == 2 and name in _ARITHMETIC:
        return lambda b, x, y: b.add(_ARITHMETIC[name], b.operand(x), b.operand(y))
    if count == 2 and name in ("floordiv", "floor_divide"):
        return _floored
    if count == 2 and name == "ne":
        return lambda b, x, y: b.add("Not", b.add("Equal", *_alike(b, x, y)))
    word = name.removeprefix("logical_").removeprefix("bitwise_")
    if count == 2 and word in _LOGIC:
        return lambda b, x, y: _joined(b, _LOGIC[word], x, y)
    if count == 3 and name == "where":
        return lambda b, condition, x, y: b.add("Where", b.operand(condition, torch.bool), b.operand(x), b.operand(y))
    return None


def _picked(b: Builder, x: Any, index: Any) -> Any:
    """One of several tensors."""
    names = b.names[x]
    if isinstance(names, str) or not isinstance(index, int):
        raise UnsupportedError("it picks elements by what is no constant")
    return names[index]


def _floored(b: Builder, x: Any, y: Any) -> Any:
    """ONNX divides integers towards 0."""
    quotient = b.add("Floor", b.add("Div", b.operand(x, torch.float64), b.operand(y, torch.float64)))
    return b.cast(quotient, torch.float64, b.examples[b.node].dtype)


def _negated(b: Builder, x: Any) -> Any:
    if b.examples[x].dtype is not torch.bool:
        raise UnsupportedError(f"a negation of {b.examples[x].dtype} has no ONNX form here")
    return b.add("Not", b.name(x))


def _joined(b: Builder, op: str, x: Any, y: Any) -> Any:
    if b.examples[b.node].dtype is not torch.bool:
        raise UnsupportedError("logic of the bits of integers has no ONNX form here")
    return b.add(op, b.operand(x), b.operand(y))


def _alike(b: Builder, x: Any, y: Any) -> tuple[str, str]:
    """Both in the dtype that torch compares them in."""
    dtype = torch.result_type(*(b.examples[each] if isinstance(each, Node) else each for each in (x, y)))
    return b.operand(x, dtype), b.operand(y, dtype)


def _option(node: Node, at: int, name: str, default: Any) -> Any:
    return node.args[at] if len(node.args) > at else node.kwargs.get(name, default)


def _others(node: Node, *names: str) -> bool:
    """Whether the call is told something by a name that is none of these."""
    return any(value is not None and name not in names for name, value in node.kwargs.items())


def _reduction(node: Node, name: str) -> Export | None:
    """Of sum(x, dim, keepdim), amax … and the norm of order 2, norm(x, 2, dim, keepdim)."""
    is_norm = "norm" in name
    at = 2 if is_norm else 1
    order = _option(node, 1, "ord" if name == "vector_norm" else "p", 2) if is_norm else 2
    dims, keep = _option(node, at, "dim", None), _option(node, at + 1, "keepdim", False)
    if order not in (2, "fro") or _others(node, "dim", "keepdim", "ord", "p") or isinstance(dims, Node):
        return None
    return lambda b, x, *_: _reduced(b, "ReduceL2" if is_norm else _REDUCTIONS[name], x, dims, bool(keep))


def _reduced(b: Builder, op: str, x: Node, dims: Any, keep: bool) -> Any:
    rank = len(b.shape(x))
    axes = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    return b.add(op, b.operand(x), b.integers([axis % rank for axis in axes]), keepdims=int(keep))


def _normalized(b: Builder, x: Node, dim: int, eps: float) -> Any:
    length = b.add("Max", _reduced(b, "ReduceL2", x, dim, True), b.operand(eps))
    return b.add("Div", b.name(x), length)


def _along(node: Node, name: str) -> Export | None:
    """Of cumsum(x, dim), argmax(x, dim, keepdim) and argmin."""
    dim: Any = _option(node, 1, "dim", None)
    if not isinstance(dim, int) or _others(node, "dim", "keepdim", "dtype"):
        return None
    if name == "cumsum":
        return lambda b, x, *_: b.add("CumSum", b.operand(x), b.constant(np.int64(dim)))
    keep, op = int(bool(_option(node, 2, "keepdim", False))), {"argmax": "ArgMax", "argmin": "ArgMin"}[name]
    return lambda b, x, *_: b.add(op, b.name(x), axis=dim, keepdims=keep)
