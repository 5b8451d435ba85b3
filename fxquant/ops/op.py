"""How an op of the vocabulary is declared: once, with its meaning as a Python body.

    @op(activations=("x",), output=Output.OWN, pointwise=True, spellings=(torch.relu, "relu"))
    def relu(x): return torch.relu(x)

The decorated function computes when it is called with tensors and records one node when it is called while tracing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from torch.fx import GraphModule, Node, Proxy

from fxquant.errors import ConfigError

Body = TypeVar("Body", bound=Callable[..., Any])


class Output(Enum):
    """How the output of an op gets its qparams."""

    OWN = "own"  # from its own observer
    SAME = "same as input"  # the values are among the input's, so they share the input's qparams
    FIXED = "fixed"  # the range is known from the maths
    NONE = "none"  # it is no tensor; what is taken out of it has


@dataclass(frozen=True)
class Op:
    """A row of the op table.

    `kernel` is true if a fold rule turns the op into an integer op. `pointwise`: each output element depends on the
    same element of the activations only, so with one activation it is a table of 256 entries. `moves`: it only moves
    data, so it computes the same on integers. An op with none of the three stays float. `follows`: it runs in int8
    only beside others that do, although it combines two tensors. `several`: it returns a tuple. `commutative`: its
    first two activations may change places.
    `at_run_time`: arguments beside the activations that the integer op takes at run time; all others are constants.
    `rows` names a table that may be kept in integers, each row with a scale of its own, by an op that gives real
    numbers all the same. `dynamic`: it also takes and gives real numbers, and computes with integers in between, whose
    qparams it finds at run time. `weight_only`: it also computes with real numbers and weights that are integers.
    `other_weights`: weights besides `weight`. `feeds_back`: the activation in whose place
    the op puts, step by step, what it computes itself, so that both share qparams. `limits`, given the arguments by
    name, says why this call has no integer form, or None if it has one.
    """

    name: str
    call: Callable[..., Any]
    body: Callable[..., Any]
    activations: tuple[str, ...] = ("x",)
    weight: str | None = None
    other_weights: tuple[str, ...] = ()
    bias: str | None = None
    output: Output = Output.OWN
    fixed: tuple[float, int] | None = None  # scale, zero_point
    kernel: bool = False
    pointwise: bool = False
    commutative: bool = False
    moves: bool = False
    follows: bool = False
    several: bool = False
    at_run_time: tuple[str, ...] = ()
    rows: str | None = None
    dynamic: bool = False
    weight_only: bool = False
    feeds_back: str | None = None
    limits: Callable[[dict[str, Any]], str | None] = lambda _: None
    signature: inspect.Signature = field(default_factory=inspect.Signature)

    @property
    def key(self) -> str:
        """Its name, with that of the package or module that declares it: fxquant.relu."""
        owner = self.body.__module__
        return f"{'fxquant' if owner.startswith('fxquant.') else owner}.{self.name}"

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of all its weights."""
        return () if self.weight is None else (self.weight, *self.other_weights)

    def bind(self, node: Node) -> dict[str, Any]:
        """The node's arguments by name, defaults filled in."""
        bound = self.signature.bind(*node.args, **node.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


OPS: dict[Callable[..., Any], Op] = {}
SPELLINGS: dict[Any, Callable[..., Any]] = {}


def op(*, activations: tuple[str, ...] = ("x",), spellings: tuple[Any, ...] = (), **row: Any) -> Callable[[Body], Body]:
    """Declares the decorated body as an op.

    `spellings`: what else users write for it with the same parameter order: functions, or strings for tensor methods.
    Spellings that differ in their arguments are declared with `spelling`. The other keywords are the fields of `Op`.
    Raises ConfigError for the name of an op that another module declares.
    """

    def declare(body: Body) -> Body:
        @functools.wraps(body)
        def call(*args: Any, **kwargs: Any) -> Any:
            tracer = _tracer(args, kwargs)
            if tracer is None:
                return body(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)  # recorded in one form, however it was called
            bound.apply_defaults()
            return tracer.create_proxy("call_function", call, bound.args, bound.kwargs)

        body.__module__ = call.__module__ = body.__module__ or "__main__"  # which code that was exec'd lacks
        signature = inspect.signature(body)
        _refuse_second(body)
        OPS[call] = Op(body.__name__, call, body, activations, signature=signature, **row)
        for target in spellings:
            SPELLINGS[target] = call
        return call  # type: ignore[return-value]

    return declare


def _refuse_second(body: Callable[..., Any]) -> None:
    """A name may be declared again by the same module only: a notebook's cell that runs twice, a module reloaded."""
    other = next((row for row in OPS.values() if row.name == body.__name__), None)
    if other is not None and other.body.__module__ != body.__module__:
        raise ConfigError(
            f"{body.__module__} declares an op {other.name}, but there is {other.key}; choose another name"
        )


def spelling(*targets: Any) -> Callable[[Body], Body]:
    """Declares what `targets` mean in terms of ops: the decorated function takes the same arguments and calls ops.

    A target is a function, a string (a tensor method; the tensor comes first) or a module class (the module comes
    first; its parameters are graph values, its other attributes are plain). A class outside of torch.nn is then not
    looked into, and a function must be one that torch.fx records: of torch, or wrapped with torch.fx.wrap.
    """

    def declare(adapter: Body) -> Body:
        for target in targets:
            SPELLINGS[target] = adapter
        return adapter

    return declare


def op_of(node: Node) -> Op | None:
    """The row of the op that `node` calls, if it calls one."""
    return OPS.get(node.target) if node.op == "call_function" else None  # type: ignore[arg-type]


def op_name(gm: GraphModule, node: Node) -> str:
    """What the node calls, in one word: an op of the vocabulary, a module's class, a function or a method."""
    row = op_of(node)
    if row is not None:
        return row.name
    if node.op == "call_module":
        return type(gm.get_submodule(str(node.target))).__name__
    return str(getattr(node.target, "__name__", node.target))


def _tracer(*containers: Any) -> Any:
    return next((proxy.tracer for proxy in _proxies(containers)), None)


def _proxies(value: Any) -> Iterator[Proxy]:
    if isinstance(value, Proxy):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _proxies(item)
    elif isinstance(value, dict):
        yield from _proxies([*value.values()])
    elif isinstance(value, slice):
        yield from _proxies([value.start, value.stop, value.step])
