"""Which layer is to blame: the values of a quantized model against those of the float one, node by node."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from fxquant import qparams
from fxquant.analysis.comparison import ComparedRow, Comparison
from fxquant.analysis.measures import Error, outside
from fxquant.analysis.pairing import Pairs, nodes_by_call, pairs_of
from fxquant.analysis.replay import CallKey, Replay, run_watched
from fxquant.analysis.weights import weight_error
from fxquant.arguments import typed
from fxquant.calibrate import bound_batch
from fxquant.errors import ConfigError, InputError
from fxquant.graph.extract import inlined
from fxquant.graph.kept import meta_of
from fxquant.graph.origin import origin_of
from fxquant.graph.parts import parts_of
from fxquant.graph.rescaling import Rescaling, rescaling_of
from fxquant.graph.surgery import absorbed_origins
from fxquant.ops.op import op_name
from fxquant.quantize_fx import convert_to_reference_fx, fuse_fx
from fxquant.runtime.region import Int8Region

# The float values of a run, by the call of the part that computed them, and the inputs of that call.
Known = dict[CallKey, tuple[dict[Node, Tensor], list[Any]]]


@typed
def compare(float_model: nn.Module, quantized: nn.Module, batches: Any) -> Comparison:
    """Holds every value of `quantized` against that of `float_model` which it stands for.

    `quantized`: what convert_fx, convert_to_reference_fx or fuse_fx made of `float_model`, or a calibrated model of
    prepare_fx, which is judged by its reference model. `batches`: one batch (a tensor, a tuple of arguments, a dict of
    keyword arguments) or a list or other iterable of them. Neither model is changed. Of each batch all float values are
    held at once, of all batches together only sums.

    Where `equalize_channels` and its like rescaled a value within the model, it is held against the float value
    rescaled in the same way. Each value is judged twice: as the quantized model computes it, with the errors of all
    layers before it, and alone, computed by the quantized layer from the float values of its inputs (rounded, where it
    reads integers).

    Raises ConfigError if `quantized` is no such model or has nothing in common with `float_model`, and InputError if
    there are no batches, or one does not fit.
    """
    quantized = _judged_model(quantized)
    signature = inspect.signature(float_model.forward)
    every = iter(_each_batch(batches, signature))
    first = next(every, None)
    if first is None:
        raise InputError("there are no batches to compare on; an iterator may be used up already")
    args, kwargs = bound_batch(signature, first, "batch 0")
    reference = fuse_fx(float_model, example_inputs=kwargs or args)
    parts = _parts(quantized, reference)
    outputs = Error()
    for index, batch in enumerate(itertools.chain([first], every)):
        args, kwargs = bound_batch(signature, batch, f"batch {index}")
        known: Known = {}
        expected = run_watched(reference, args, kwargs, lambda key, given: _record(parts, known, key, given))  # noqa: B023
        computed = run_watched(quantized, args, kwargs, lambda key, given: _judge(parts, known, key, given))  # noqa: B023
        for one, other in zip(real_tensors(expected), real_tensors(computed), strict=False):
            if one.shape == other.shape:
                outputs.add(one, other)
    return Comparison(tuple(row for part in parts.values() for row in part.rows()), outputs)


def _each_batch(batches: Any, signature: inspect.Signature) -> Iterable[Any]:
    """As `each_batch`, but a tuple is one batch. One that is too long for it raises InputError."""
    if not isinstance(batches, tuple):
        return each_batch(batches)
    try:
        signature.bind(*batches)
    except TypeError as error:
        raise InputError(
            f"a tuple is one batch, and {len(batches)} values are no arguments of forward{signature}: {error}; "
            "for several batches, as Tensor.split gives them, pass a list"
        ) from error
    return [batches]


def each_batch(batches: Any) -> Iterable[Any]:
    """A tensor or a dict as a list of this one batch; any iterable of batches as it is."""
    if isinstance(batches, (Tensor, Mapping)):
        return [batches]
    if not hasattr(batches, "__iter__"):
        raise InputError(f"batches is a {type(batches).__name__}; pass a batch, or an iterable of batches")
    return batches  # type: ignore[no-any-return]


def real_tensors(value: Any) -> list[Tensor]:
    """The floating point tensors that a model returned, in order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _judged_model(quantized: nn.Module) -> nn.Module:
    if not isinstance(quantized, nn.Module) or not list(parts_of(quantized)):
        raise ConfigError(
            "compare takes what convert_fx, prepare_fx or another stage returned as its second model; for one that "
            "quantizes at run time, give prepare_fx default_dynamic_qconfig instead of calling quantize_dynamic"
        )
    if "qconfig_mapping" in meta_of(quantized):
        return convert_to_reference_fx(quantized)
    return quantized


class _Part:
    """One captured graph on either side, and what was summed up about its values."""

    def __init__(self, path: str, quantized: GraphModule, reference: GraphModule) -> None:
        self.prefix = f"{path}/" if path else ""
        self.reference = reference
        self.quantized = inlined(quantized, Int8Region)
        self.pairs: Pairs = pairs_of(self.quantized, reference)
        self.wanted = set(self.pairs.values())
        self.accumulated = {node: Error() for node in self.pairs}
        self.alone = {node: Error() for node in self.pairs}

    def expected(self, node: Node, values: Mapping[Node, Tensor]) -> Tensor | None:
        """What `node` would give without errors, by the float `values`: rescaled, where a correction rescaled it."""
        value, rescaling = values.get(self.pairs[node]) if node in self.pairs else None, rescaling_of(node)
        return value if value is None or rescaling is None else rescaling.of(value)

    def rows(self) -> Iterator[ComparedRow]:
        calls = nodes_by_call(self.reference)
        for node, expected in self.pairs.items():
            if not self.accumulated[node].count:
                continue
            computing = [n for origin in absorbed_origins(node) for n in calls.get(origin, ())]
            origin = origin_of(node) or origin_of(expected)
            yield ComparedRow(
                node=self.prefix + node.name,
                op=op_name(self.quantized, node),
                precision="int8" if "qparams" in node.meta else "float",
                place=origin.module_path if origin else str(expected.target),
                source=origin.source or "" if origin else "",
                absorbed=tuple(o.spelling_name for o in absorbed_origins(node)[1:]),
                accumulated=self.accumulated[node],
                alone=self.alone[node],
                weight=weight_error(self.quantized, node, self.reference, computing, self._read_by(node)),
            )

    def _read_by(self, node: Node) -> Rescaling | None:
        """How the first value that `node` reads is rescaled, also where it was moved on its way."""
        while node.all_input_nodes:
            node = node.all_input_nodes[0]
            if node in self.pairs or rescaling_of(node) is not None:
                return rescaling_of(node)
        return None


def _parts(quantized: nn.Module, reference: nn.Module) -> dict[str, _Part]:
    theirs = dict(parts_of(reference))
    parts = {path: _Part(path, part, theirs[path]) for path, part in parts_of(quantized) if path in theirs}
    if not any(node.op != "placeholder" for part in parts.values() for node in part.wanted):
        raise ConfigError(
            "the two models have no call in common: is the first one the float model that the second was made from? A "
            "model that was loaded from a file does not know where its nodes come from; compare it before it is saved"
        )
    return parts


def _record(parts: dict[str, _Part], known: Known, key: CallKey, given: list[Any]) -> Any:
    if key[0] not in parts:
        return None
    part, values = parts[key[0]], dict[Node, Tensor]()

    def see(node: Node, value: Any) -> Any:
        if node in part.wanted and isinstance(value, Tensor) and value.is_floating_point():
            values[node] = value.clone()  # what is computed in place later must not change it
        return value

    known[key] = values, given
    return Replay(part.reference, see).run(*given)


def _judge(parts: dict[str, _Part], known: Known, key: CallKey, given: list[Any]) -> Any:
    if key not in known:
        return None
    part, (values, inputs) = parts[key[0]], known.pop(key)

    def see(node: Node, value: Any) -> Any:
        _add(part.accumulated, node, value, part.expected(node, values))
        return value

    def see_alone(node: Node, value: Any) -> Any:
        expected = part.expected(node, values)
        if expected is None or not _add(part.alone, node, value, expected):
            return value
        return _standing_for(expected, node, value)

    Replay(part.quantized, see_alone).run(*inputs)
    return Replay(part.quantized, see).run(*given)


def _add(errors: dict[Node, Error], node: Node, value: Any, expected: Tensor | None) -> bool:
    """Adds up what can be compared. Returns whether it could."""
    if expected is None or not isinstance(value, Tensor) or value.shape != expected.shape:
        return False
    q = node.meta.get("qparams")
    if q is not None and value.dtype is q.dtype:
        beyond = outside(expected, q.scale, q.zero_point, q.quant_min, q.quant_max)
        errors[node].add(expected, qparams.dequantize(value.contiguous(), q), beyond)
        return True
    if value.is_floating_point():
        errors[node].add(expected, value)
    return value.is_floating_point()


def _standing_for(expected: Tensor, node: Node, value: Tensor) -> Tensor:
    """The float value in the form that the quantized model has it in."""
    return expected.to(value.dtype) if value.is_floating_point() else qparams.quantize(expected, node.meta["qparams"])
